package org.tensorflow.lite;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * LiteRT's Java API, as much of it as the phone uses, on the runtime of the Python wheel: a process of
 * `android_demo/hosttest/litert_runtime.py` for each interpreter.
 */
public final class Interpreter implements AutoCloseable {
    public static class Options {
        int threads = 1;

        public Options setNumThreads(int threads) {
            this.threads = threads;
            return this;
        }
    }

    private final Process process;
    private final DataOutputStream out;
    private final DataInputStream in;
    private final Map<String, Tensor> inputs;
    private final Map<String, Tensor> outputs;

    public Interpreter(ByteBuffer model, Options options) {
        try {
            process = new ProcessBuilder(System.getProperty("mnet.python"), "-m", "android_demo.hosttest.litert_runtime")
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
            out = new DataOutputStream(process.getOutputStream());
            in = new DataInputStream(process.getInputStream());
            out.writeInt(options.threads);
            send((ByteBuffer) model.duplicate().rewind());
            out.flush();
            String refusal = in.readUTF();
            if (!refusal.isEmpty()) throw new IllegalArgumentException(refusal);
            inputs = tensors();
            outputs = tensors();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    public String[] getSignatureInputs(String signature) {
        return inputs.keySet().toArray(new String[0]);
    }

    public String[] getSignatureOutputs(String signature) {
        return outputs.keySet().toArray(new String[0]);
    }

    public Tensor getInputTensorFromSignature(String name, String signature) {
        return inputs.get(name);
    }

    public Tensor getOutputTensorFromSignature(String name, String signature) {
        return outputs.get(name);
    }

    public void runSignature(Map<String, Object> given, Map<String, Object> taken, String signature) {
        try {
            for (String name : inputs.keySet()) send(((ByteBuffer) given.get(name)).duplicate());
            out.flush();
            String refusal = in.readUTF();
            if (!refusal.isEmpty()) throw new IllegalArgumentException(refusal);
            for (String name : outputs.keySet()) {
                byte[] data = new byte[in.readInt()];
                in.readFully(data);
                ((ByteBuffer) taken.get(name)).put(data);
            }
        } catch (IOException error) {
            throw new IllegalStateException("the interpreter was closed", error);
        }
    }

    @Override
    public void close() {
        process.destroy();
    }

    private void send(ByteBuffer data) throws IOException {
        byte[] bytes = new byte[data.remaining()];
        data.get(bytes);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    private Map<String, Tensor> tensors() throws IOException {
        Map<String, Tensor> read = new LinkedHashMap<>();
        for (int count = in.readInt(); count > 0; count--) {
            String name = in.readUTF();
            DataType type = DataType.valueOf(in.readUTF());
            int[] shape = new int[in.readInt()];
            for (int k = 0; k < shape.length; k++) shape[k] = in.readInt();
            int bytes = in.readInt();
            read.put(name, new Tensor() {
                @Override
                public int[] shape() {
                    return shape;
                }

                @Override
                public DataType dataType() {
                    return type;
                }

                @Override
                public int numBytes() {
                    return bytes;
                }
            });
        }
        return read;
    }
}

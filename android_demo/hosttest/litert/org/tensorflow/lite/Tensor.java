package org.tensorflow.lite;

/** What LiteRT's Java API says of an input or an output. */
public interface Tensor {
    int[] shape();

    DataType dataType();

    int numBytes();
}

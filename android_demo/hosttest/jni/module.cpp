// The native side of ExecuTorch's Java API (org.pytorch.executorch), on the runtime of the Python wheel.
//
// The Java classes are those of the Android library, unchanged, so the app's own code runs here as on a phone:
// the same calls, the same lifetimes (outputs alias planned memory, weights are direct buffers that Java owns),
// XNNPACK's weight cache on. What differs is this file, where a phone has libexecutorch_jni.so.
#include <jni.h>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/platform/runtime.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// The wheel exports these and has no header of them.
namespace executorch::extension::threadpool {
class ThreadPool {
public:
    bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

using executorch::aten::ScalarType;
using executorch::aten::SizesType;
using executorch::extension::Module;
using executorch::extension::TensorPtr;
using executorch::runtime::BackendOptions;
using executorch::runtime::Error;
using executorch::runtime::EValue;

namespace {

constexpr jint kTensor = 1;  // EValue.TYPE_CODE_TENSOR

struct Loaded {
    Module module;
};

struct JavaNames {
    jclass value_class, tensor_class, hybrid_class, string_class, byte_order_class;
    jfieldID value_type, value_data, tensor_shape, module_hybrid, hybrid_handle;
    jmethodID tensor_buffer, tensor_dtype, tensor_new, value_from, hybrid_new, buffer_order;
    jobject native_order;
} java;

jclass find_class(JNIEnv* env, const char* name) {
    return static_cast<jclass>(env->NewGlobalRef(env->FindClass(name)));
}

void fail(JNIEnv* env, const std::string& what, Error error) {
    const std::string text = what + " failed with ExecuTorch error " + std::to_string(static_cast<int>(error));
    env->ThrowNew(env->FindClass("java/lang/RuntimeException"), text.c_str());
}

std::string text_of(JNIEnv* env, jstring text) {
    const char* chars = env->GetStringUTFChars(text, nullptr);
    std::string copy(chars);
    env->ReleaseStringUTFChars(text, chars);
    return copy;
}

Loaded& loaded_of(JNIEnv* env, jobject self) {
    jobject hybrid = env->GetObjectField(self, java.module_hybrid);
    return *reinterpret_cast<Loaded*>(env->GetLongField(hybrid, java.hybrid_handle));
}

TensorPtr tensor_of(JNIEnv* env, jobject tensor) {
    auto shape = static_cast<jlongArray>(env->GetObjectField(tensor, java.tensor_shape));
    std::vector<jlong> lengths(env->GetArrayLength(shape));
    env->GetLongArrayRegion(shape, 0, static_cast<jsize>(lengths.size()), lengths.data());
    jobject buffer = env->CallObjectMethod(tensor, java.tensor_buffer);
    // The numbers of Java's DType are those of ScalarType.
    const auto dtype = static_cast<ScalarType>(env->CallIntMethod(tensor, java.tensor_dtype));
    return executorch::extension::from_blob(
        env->GetDirectBufferAddress(buffer), std::vector<SizesType>(lengths.begin(), lengths.end()), dtype);
}

/// A Java EValue whose tensor views the memory of `value`, as on Android.
jobject java_value(JNIEnv* env, const EValue& value) {
    if (!value.isTensor()) return nullptr;
    const auto& tensor = value.toTensor();
    const std::vector<jlong> lengths(tensor.sizes().begin(), tensor.sizes().end());
    jlongArray shape = env->NewLongArray(static_cast<jsize>(lengths.size()));
    env->SetLongArrayRegion(shape, 0, static_cast<jsize>(lengths.size()), lengths.data());
    jobject buffer = env->NewDirectByteBuffer(tensor.mutable_data_ptr(), static_cast<jlong>(tensor.nbytes()));
    env->CallObjectMethod(buffer, java.buffer_order, java.native_order);
    const auto dtype = static_cast<jint>(tensor.scalar_type());
    jobject wrapped = env->CallStaticObjectMethod(java.tensor_class, java.tensor_new, buffer, shape, dtype, nullptr);
    return wrapped == nullptr ? nullptr : env->CallStaticObjectMethod(java.value_class, java.value_from, wrapped);
}

jobject load(JNIEnv* env, jclass, jstring path, jint, jint threads) {
    // As the Android library does: the pool that models loaded before still use is freed.
    if (threads > 0) {
        executorch::extension::threadpool::get_threadpool()->_unsafe_reset_threadpool(static_cast<uint32_t>(threads));
    }
    // Braces, because a Module cannot be moved.
    std::unique_ptr<Loaded> loaded(new Loaded{Module(text_of(env, path), Module::LoadMode::Mmap)});
    if (const Error error = loaded->module.load(); error != Error::Ok) {
        fail(env, "loading the program", error);
        return nullptr;
    }
    return env->NewObject(java.hybrid_class, java.hybrid_new, reinterpret_cast<jlong>(loaded.release()));
}

jobjectArray execute(JNIEnv* env, jobject self, jstring method, jobjectArray values) {
    const jsize count = env->GetArrayLength(values);
    std::vector<TensorPtr> tensors;
    std::vector<EValue> inputs;
    for (jsize index = 0; index < count; ++index) {
        jobject value = env->GetObjectArrayElement(values, index);
        if (env->GetIntField(value, java.value_type) != kTensor) {
            fail(env, "an input that is no tensor", Error::InvalidType);
            return nullptr;
        }
        tensors.push_back(tensor_of(env, env->GetObjectField(value, java.value_data)));
        inputs.emplace_back(*tensors.back());
    }
    Loaded& loaded = loaded_of(env, self);
    auto outputs = loaded.module.execute(text_of(env, method), inputs);
    if (!outputs.ok()) {
        fail(env, "the inference", outputs.error());
        return nullptr;
    }
    jobjectArray result = env->NewObjectArray(static_cast<jsize>(outputs->size()), java.value_class, nullptr);
    for (std::size_t index = 0; index < outputs->size(); ++index) {
        env->SetObjectArrayElement(result, static_cast<jsize>(index), java_value(env, (*outputs)[index]));
    }
    return result;
}

jint load_method(JNIEnv* env, jobject self, jstring name) {
    return static_cast<jint>(loaded_of(env, self).module.load_method(text_of(env, name)));
}

jobjectArray methods(JNIEnv* env, jobject self) {
    auto names = loaded_of(env, self).module.method_names();
    if (!names.ok()) {
        fail(env, "listing the methods", names.error());
        return nullptr;
    }
    jobjectArray result = env->NewObjectArray(static_cast<jsize>(names->size()), java.string_class, nullptr);
    jsize index = 0;
    for (const std::string& name : *names) {
        env->SetObjectArrayElement(result, index++, env->NewStringUTF(name.c_str()));
    }
    return result;
}

jobjectArray used_backends(JNIEnv* env, jobject, jstring) {
    return env->NewObjectArray(0, java.string_class, nullptr);
}

void delete_module(JNIEnv*, jclass, jlong handle) { delete reinterpret_cast<Loaded*>(handle); }

/// Looks up what the calls above use, once.
void find_names(JNIEnv* env) {
    java.value_class = find_class(env, "org/pytorch/executorch/EValue");
    java.tensor_class = find_class(env, "org/pytorch/executorch/Tensor");
    java.hybrid_class = find_class(env, "com/facebook/jni/HybridData");
    java.string_class = find_class(env, "java/lang/String");
    java.byte_order_class = find_class(env, "java/nio/ByteOrder");
    jclass module_class = env->FindClass("org/pytorch/executorch/Module");
    jclass buffer_class = env->FindClass("java/nio/ByteBuffer");
    java.value_type = env->GetFieldID(java.value_class, "mTypeCode", "I");
    java.value_data = env->GetFieldID(java.value_class, "mData", "Ljava/lang/Object;");
    java.tensor_shape = env->GetFieldID(java.tensor_class, "shape", "[J");
    java.module_hybrid = env->GetFieldID(module_class, "mHybridData", "Lcom/facebook/jni/HybridData;");
    java.hybrid_handle = env->GetFieldID(java.hybrid_class, "handle", "J");
    java.tensor_buffer = env->GetMethodID(java.tensor_class, "getRawDataBuffer", "()Ljava/nio/Buffer;");
    java.tensor_dtype = env->GetMethodID(java.tensor_class, "dtypeJniCode", "()I");
    java.tensor_new = env->GetStaticMethodID(
        java.tensor_class, "nativeNewTensor",
        "(Ljava/nio/ByteBuffer;[JILcom/facebook/jni/HybridData;)Lorg/pytorch/executorch/Tensor;");
    java.value_from = env->GetStaticMethodID(
        java.value_class, "from", "(Lorg/pytorch/executorch/Tensor;)Lorg/pytorch/executorch/EValue;");
    java.hybrid_new = env->GetMethodID(java.hybrid_class, "<init>", "(J)V");
    java.buffer_order = env->GetMethodID(buffer_class, "order", "(Ljava/nio/ByteOrder;)Ljava/nio/ByteBuffer;");
    jmethodID native_order =
        env->GetStaticMethodID(java.byte_order_class, "nativeOrder", "()Ljava/nio/ByteOrder;");
    java.native_order = env->NewGlobalRef(env->CallStaticObjectMethod(java.byte_order_class, native_order));
}

void register_natives(JNIEnv* env) {
    // JNI takes names and signatures as char*, and does not write to them.
    auto method = [](const char* name, const char* signature, auto* function) {
        return JNINativeMethod{
            const_cast<char*>(name), const_cast<char*>(signature), reinterpret_cast<void*>(function)};
    };
    const JNINativeMethod module_methods[] = {
        method("initHybrid", "(Ljava/lang/String;II)Lcom/facebook/jni/HybridData;", load),
        method(
            "executeNative",
            "(Ljava/lang/String;[Lorg/pytorch/executorch/EValue;)[Lorg/pytorch/executorch/EValue;", execute),
        method("loadMethodNative", "(Ljava/lang/String;)I", load_method),
        method("getMethodsNative", "()[Ljava/lang/String;", methods),
        method("getUsedBackends", "(Ljava/lang/String;)[Ljava/lang/String;", used_backends),
    };
    const JNINativeMethod hybrid_methods[] = {method("delete", "(J)V", delete_module)};
    env->RegisterNatives(env->FindClass("org/pytorch/executorch/Module"), module_methods, 5);
    env->RegisterNatives(java.hybrid_class, hybrid_methods, 1);
}

/// XNNPACK's cache of packed weights is on in ExecuTorch's builds for Android, and off in the wheel.
bool switch_weight_cache_on() {
    executorch::runtime::runtime_init();
    BackendOptions<1> options;
    return options.set_option("weight_cache_enabled", true) == Error::Ok &&
           executorch::runtime::set_option("XnnpackBackend", options.view()) == Error::Ok;
}

}  // namespace

extern "C" JNIEXPORT jint JNI_OnLoad(JavaVM* vm, void*) {
    JNIEnv* env = nullptr;
    if (!switch_weight_cache_on()) return JNI_ERR;
    if (vm->GetEnv(reinterpret_cast<void**>(&env), JNI_VERSION_1_8) != JNI_OK) return JNI_ERR;
    find_names(env);
    register_natives(env);
    // A name that the Java API does not have left an exception: the load of the library throws it.
    return env->ExceptionCheck() ? JNI_ERR : JNI_VERSION_1_8;
}

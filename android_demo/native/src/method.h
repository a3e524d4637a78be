// ExecuTorch's program and method, with the memory that they point into but do not own.
#pragma once

#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/extension/flat_tensor/flat_tensor_data_map.h>
#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/executor/program.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mnet/bundle.h"
#include "mnet/session.h"

namespace mnet {

namespace et = executorch::runtime;
namespace ete = executorch::extension;

/// A `.pte` in memory.
class Executable {
public:
    /// Throws BundleError if this is no program that this runtime can load.
    explicit Executable(std::shared_ptr<const Bytes> file);
    Executable(const Executable&) = delete;  // the program points to the loader

    bool has(const char* method) const { return program_->method_meta(method).ok(); }

    const et::Program& program() const { return *program_; }

private:
    std::shared_ptr<const Bytes> file_;
    ete::BufferDataLoader loader_;
    std::optional<et::Program> program_;
};

/// One method of a program, loaded into memory of its own. It can run once all its inputs are bound.
class Method {
public:
    /// Of the bytes of a `.ptd`, `weights`, the method gets its external constants.
    ///
    /// Throws BundleError if the method cannot be loaded.
    Method(std::shared_ptr<const Executable> executable, const char* name, Bytes weights = {});
    Method(const Method&) = delete;  // ExecuTorch's method points to other members

    std::size_t inputs() const { return method_->inputs_size(); }
    std::size_t outputs() const { return method_->outputs_size(); }

    /// Lets the input stay where it is: each execution reads it there. Throws BundleError if it does not fit.
    void bind(std::size_t index, const et::EValue& input);

    /// Throws std::runtime_error where the runtime fails.
    void execute();

    /// The memory belongs to the method; the next execution overwrites it.
    const et::EValue& output(std::size_t index) const { return method_->get_output(index); }

    /// Copies of all outputs, which are fp32.
    void copy_outputs(Outputs& outputs) const;

    /// Throws BundleError unless the outputs are what the manifest says.
    void check_outputs(const std::vector<TensorInfo>& expected) const;

private:
    std::shared_ptr<const Executable> executable_;
    std::string name_;
    Bytes weights_;
    std::optional<ete::BufferDataLoader> loader_;
    std::optional<ete::FlatTensorDataMap> data_map_;
    std::vector<Bytes> arenas_;
    std::vector<et::Span<std::uint8_t>> spans_;
    std::optional<et::HierarchicalAllocator> planned_;
    ete::MallocMemoryAllocator method_memory_, temporary_memory_;
    std::optional<et::MemoryManager> memory_;
    std::optional<et::Method> method_;
};

/// A tensor in memory of its own.
class Buffer {
public:
    Buffer(DType dtype, const std::vector<std::int64_t>& shape);

    std::size_t size() const { return tensor_->nbytes(); }
    std::uint8_t* data() { return tensor_->mutable_data_ptr<std::uint8_t>(); }
    et::EValue value() const { return et::EValue(*tensor_); }

private:
    ete::TensorPtr tensor_;
};

/// The model's own inputs, in memory that methods can stay bound to.
class InputBuffers {
public:
    explicit InputBuffers(const std::vector<TensorInfo>& infos);

    std::size_t count() const { return buffers_.size(); }

    /// Binds all to a method's inputs from `first` on.
    void bind(Method& method, std::size_t first) const;

    /// Throws std::invalid_argument if there are more or fewer, or one is of another size.
    void fill(const std::vector<Input>& inputs);

private:
    std::vector<Buffer> buffers_;
};

}  // namespace mnet

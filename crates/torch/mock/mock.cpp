// A stand-in for `libtorch_cuda.so` on machines without a GPU, for tests only: two devices, `cuda:0` and `cuda:1`, that
// compute with the CPU's kernels.
//
// What it shows of a real device:
// - Tensors carry the device, and libtorch takes the ways that it takes for CUDA. Mixed devices raise PyTorch's error.
// - A pointer to device memory cannot be read by the host: the process ends with a segmentation fault.
// - Memory is limited, filled with NaN until it is written, and every allocation is reported as the real one's are.
// - Where a real kernel asserts, the device is lost for the whole process.
// - What it is asked for can be listed: each operator that would launch a kernel, and where the host would wait.
//
// What it cannot show: real kernels, with their numbers, speed and element types, and that they run beside the host. An
// operator is one launch in its list, though the real one may take several kernels.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

namespace {

using torch::jit::Stack;

constexpr c10::DeviceIndex DEVICES = 2;

std::atomic<bool> lost{false};

void check_alive() {
  TORCH_CHECK(!lost, "CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.");
}

// ---- Memory -----------------------------------------------------------------------------------------------------

// Bytes of each device.
constexpr size_t CAPACITY = size_t(1) << 30;
constexpr size_t ALIGNMENT = 512;

// Hands out ranges of a region that nobody can read. Its contents lie in another region, which only kernels see.
class Memory {
 public:
  Memory() {
    shown = reserve(PROT_NONE);
    hidden = reserve(PROT_READ | PROT_WRITE);
    free_ranges[0] = CAPACITY;
  }

  void* allocate(size_t bytes, c10::DeviceIndex device) {
    check_alive();
    size_t wanted = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    std::lock_guard<std::mutex> lock(mutex);
    auto range = std::find_if(free_ranges.begin(), free_ranges.end(), [&](auto& one) { return one.second >= wanted; });
    if (range == free_ranges.end()) {
      c10::reportOutOfMemoryToProfiler(int64_t(wanted), allocated, CAPACITY, c10::Device(c10::kCUDA, device));
    }
    TORCH_CHECK_WITH(OutOfMemoryError, range != free_ranges.end(), "CUDA out of memory. Tried to allocate ", bytes,
                     " bytes. GPU ", int(device), " has a total capacity of ", CAPACITY, " bytes of which ",
                     CAPACITY - allocated, " bytes is free.");
    auto [offset, size] = *range;
    free_ranges.erase(range);
    if (size > wanted) free_ranges[offset + wanted] = size - wanted;
    sizes[offset] = wanted;
    allocated += wanted;
    std::memset(hidden + offset, 0xff, wanted);
    report(shown + offset, int64_t(wanted), device);
    return shown + offset;
  }

  void release(void* at, c10::DeviceIndex device) {
    std::lock_guard<std::mutex> lock(mutex);
    size_t offset = static_cast<char*>(at) - shown;
    auto known = sizes.find(offset);
    size_t size = known->second;
    sizes.erase(known);
    allocated -= size;
    report(at, -int64_t(size), device);
    auto next = free_ranges.lower_bound(offset);
    if (next != free_ranges.end() && next->first == offset + size) {
      size += next->second;
      next = free_ranges.erase(next);
    }
    if (next != free_ranges.begin()) {
      auto before = std::prev(next);
      if (before->first + before->second == offset) {
        before->second += size;
        return;
      }
    }
    free_ranges[offset] = size;
  }

  // Where the contents of device memory lie.
  void* contents(const void* at) const { return hidden + (static_cast<const char*>(at) - shown); }

  bool has(const void* at) const { return at >= shown && at < shown + CAPACITY; }

 private:
  static char* reserve(int protection) {
    void* region = mmap(nullptr, CAPACITY, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TORCH_CHECK(region != MAP_FAILED, "no room for the device's memory");
    return static_cast<char*>(region);
  }

  void report(void* at, int64_t bytes, c10::DeviceIndex device) const {
    c10::reportMemoryUsageToProfiler(at, bytes, allocated, CAPACITY, c10::Device(c10::kCUDA, device));
  }

  std::mutex mutex;
  char* shown;
  char* hidden;
  std::map<size_t, size_t> free_ranges;
  std::unordered_map<size_t, size_t> sizes;
  size_t allocated = 0;
};

// ---- Launches ---------------------------------------------------------------------------------------------------

// What would have been launched, while somebody lists it: a line each.
struct Launches {
  std::mutex mutex;
  bool listed = false;
  std::string lines;

  void add(const std::string& name, const char* how = "") {
    std::lock_guard<std::mutex> lock(mutex);
    if (listed) lines += name + how + "\n";
  }
};

Launches launches;
// How many calls that were listed as a whole this thread is in.
thread_local int inside = 0;

struct Whole {
  explicit Whole(const char* name) {
    if (inside++ == 0) launches.add(name);
  }
  ~Whole() { inside--; }
};

// Says whether an operator leaves memory as it is: it returns views, or changes what a tensor says of itself.
bool only_looks(const c10::OperatorHandle& op) {
  const auto& schema = op.schema();
  const auto& name = op.operator_name().name;
  if (name == "aten::set_" || name == "aten::resize_") return true;
  auto is_view = [](const c10::Argument& one) { return one.alias_info() != nullptr && !one.alias_info()->isWrite(); };
  return !schema.returns().empty() && std::all_of(schema.returns().begin(), schema.returns().end(), is_view);
}

// Says whether the host would wait for an operator's outcome.
bool waits(const std::string& name) {
  static const char* const names[] = {"aten::_local_scalar_dense", "aten::equal",    "aten::nonzero",
                                      "aten::masked_select",       "aten::_unique2", "aten::unique_dim",
                                      "aten::unique_consecutive"};
  return std::any_of(std::begin(names), std::end(names), [&](const char* one) { return name == one; });
}

// Lists a call that was made: its first tensors tell which way a copy went.
void note(const c10::OperatorHandle& op, const std::vector<at::Tensor>& given, const Stack& stack) {
  if (inside != 0 || only_looks(op)) return;
  const auto& name = op.operator_name().name;
  size_t results = op.schema().returns().size();
  bool empty = results != 0;
  for (size_t i = stack.size() - results; i < stack.size(); i++) {
    empty = empty && stack[i].isTensor() && stack[i].toTensor().defined() && stack[i].toTensor().numel() == 0;
  }
  if (empty) return;
  bool copies = name == "aten::copy_" && given.size() == 2;
  if (copies && given[0].is_cpu()) return launches.add(name, ", for which the host waits");
  if (copies && given[1].is_cpu()) return launches.add(name, " from the host");
  launches.add(name, waits(name) ? ", for which the host waits" : "");
}

thread_local c10::DeviceIndex current = 0;

template <c10::DeviceIndex index>
Memory& memory_of() {
  static auto* memory = new Memory();
  return *memory;
}

Memory& memory(c10::DeviceIndex index) { return index == 0 ? memory_of<0>() : memory_of<1>(); }

}  // namespace

// Where the contents of memory lie: a device's, or the host's own. For what stands for NCCL.
extern "C" void* mock_contents(const void* at) {
  for (c10::DeviceIndex index = 0; index < DEVICES; index++) {
    if (memory(index).has(at)) return memory(index).contents(at);
  }
  return const_cast<void*>(at);
}

namespace {

template <c10::DeviceIndex index>
void release(void* at) {
  if (at != nullptr) memory(index).release(at, index);
}

struct DeviceAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    c10::Device device(c10::kCUDA, current);
    auto deleter = current == 0 ? &release<0> : &release<1>;
    void* at = bytes == 0 ? nullptr : memory(current).allocate(bytes, current);
    return {at, at, deleter, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return current == 0 ? &release<0> : &release<1>; }
  void copy_data(void* to, const void* from, size_t count) const override {
    std::memcpy(memory(current).contents(to), memory(current).contents(from), count);
  }
};

DeviceAllocator allocator;

// ---- Devices and generators -------------------------------------------------------------------------------------

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device exchangeDevice(c10::Device device) const override {
    c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return {c10::kCUDA, current}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.index() < DEVICES, "CUDA error: invalid device ordinal");
    if (device.index() >= 0) current = device.index();
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override { current = device.index(); }
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, {c10::kCUDA, device.has_index() ? device.index() : current});
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return getStream(stream.device()); }
  c10::DeviceIndex deviceCount() const noexcept override { return DEVICES; }
  void synchronizeDevice(c10::DeviceIndex) const override { check_alive(); }

  // All that a stream is given to do is done when it is.
  void* getStreamNativeHandle(const c10::Stream) const override { return nullptr; }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return getStream(device); }
  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    *event = const_cast<Guard*>(this);
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override {
    check_alive();
    return true;
  }
  void synchronizeEvent(void*) const override { check_alive(); }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

// A CPU generator that says that it is the device's.
struct DeviceGenerator final : c10::GeneratorImpl {
  explicit DeviceGenerator(c10::DeviceIndex index, at::Generator inner = at::detail::createCPUGenerator())
      : GeneratorImpl({c10::kCUDA, index}, c10::DispatchKeySet(c10::DispatchKey::CUDA)), inner(std::move(inner)) {}
  void set_current_seed(uint64_t seed) override { inner.set_current_seed(seed); }
  void set_offset(uint64_t offset) override { inner.set_offset(offset); }
  uint64_t get_offset() const override { return inner.get_offset(); }
  uint64_t current_seed() const override { return inner.current_seed(); }
  uint64_t seed() override { return inner.unsafeGetGeneratorImpl()->seed(); }
  void set_state(const c10::TensorImpl& state) override { inner.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return inner.unsafeGetGeneratorImpl()->get_state(); }
  DeviceGenerator* clone_impl() const override { return new DeviceGenerator(device().index(), inner.clone()); }

  at::Generator inner;
};

at::Generator& inner_of(const at::Generator& generator) {
  return static_cast<DeviceGenerator*>(generator.unsafeGetGeneratorImpl())->inner;
}

c10::DeviceIndex index_or_current(c10::DeviceIndex index) { return index < 0 ? current : index; }

struct CUDAHooks final : at::CUDAHooksInterface {
  explicit CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return DEVICES; }
  int getNumGPUs() const override { return DEVICES; }
  c10::DeviceIndex current_device() const override { return current; }
  c10::DeviceIndex getCurrentDevice() const override { return current; }
  void deviceSynchronize(c10::DeviceIndex) const override { check_alive(); }
  at::Allocator* getCUDADeviceAllocator() const override { return &allocator; }
  at::Allocator* getPinnedMemoryAllocator() const override { return c10::GetCPUAllocator(); }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const override {
    static auto* generators = new std::array<at::Generator, DEVICES>{getNewGenerator(0), getNewGenerator(1)};
    return generators->at(index_or_current(index));
  }
  at::Generator getNewGenerator(c10::DeviceIndex index) const override {
    return at::make_generator<DeviceGenerator>(index_or_current(index));
  }
};

}  // namespace

namespace at {
using ::CUDAHooks;
REGISTER_CUDA_HOOKS(CUDAHooks)
REGISTER_ALLOCATOR(c10::kCUDA, &::allocator)
}  // namespace at

namespace {

// ---- Kernels ----------------------------------------------------------------------------------------------------

void describe(const at::Tensor& made, c10::IntArrayRef sizes, c10::IntArrayRef strides, int64_t offset) {
  made.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides, offset);
}

at::Tensor tensor_over(c10::Storage storage, c10::DispatchKey key, const at::Tensor& like) {
  auto made = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), like.dtype());
  describe(made, like.sizes(), like.strides(), like.storage_offset());
  if (like.is_conj()) made._set_conj(true);
  if (like.is_neg()) made._set_neg(true);
  return made;
}

c10::Storage device_storage(size_t bytes, c10::DeviceIndex index) {
  c10::DeviceGuard guard(c10::Device(c10::kCUDA, index));
  return c10::Storage(c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), bytes,
                                                            allocator.allocate(bytes), &allocator, true));
}

// Has the CPU's default generator give what the device's would, for kernels that take it where none is given.
class Lent {
 public:
  Lent(bool random, c10::DeviceIndex index) : random(random), index(index) {
    if (random) exchange();
  }
  ~Lent() {
    if (random) exchange();
  }

 private:
  void exchange() {
    auto& device = inner_of(at::detail::getCUDAHooks().getDefaultGenerator(index));
    auto cpu = at::detail::getDefaultCPUGenerator();
    auto [own, other] = std::pair(cpu.get_state(), device.get_state());
    cpu.set_state(other);
    device.set_state(own);
  }

  bool random;
  c10::DeviceIndex index;
};

// One call of a CPU kernel on device tensors: on aliases, which share the device memory's contents.
class Call {
 public:
  explicit Call(c10::DeviceIndex index) : index(index) {}

  at::Tensor alias(const at::Tensor& tensor) {
    if (!tensor.defined() || !tensor.is_cuda()) return tensor;
    auto [known, fresh] = storages.try_emplace(tensor.storage().unsafeGetStorageImpl());
    if (fresh) {
      void* data = tensor.storage().mutable_data();
      if (data != nullptr) data = memory(tensor.device().index()).contents(data);
      known->second = c10::Storage(c10::make_intrusive<c10::StorageImpl>(
          c10::StorageImpl::use_byte_size_t(), tensor.storage().nbytes(),
          c10::DataPtr(data, c10::Device(c10::kCPU)), c10::GetCPUAllocator(), true));
      originals.emplace(known->second.unsafeGetStorageImpl(), tensor.storage());
    }
    auto made = tensor_over(known->second, c10::DispatchKey::CPU, tensor);
    if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) made.unsafeGetTensorImpl()->set_wrapped_number(true);
    aliases.emplace_back(made, tensor);
    return made;
  }

  // Brings what a kernel did to the shape of its arguments to the arguments.
  void settle() {
    for (auto& [alias, tensor] : aliases) {
      bool moved = device_of(alias.storage()) != tensor.storage().unsafeGetStorageImpl();
      if (moved) tensor.unsafeGetTensorImpl()->set_storage_keep_dtype(back(alias.storage()));
      if (moved || alias.sizes() != tensor.sizes() || alias.strides() != tensor.strides() ||
          alias.storage_offset() != tensor.storage_offset()) {
        describe(tensor, alias.sizes(), alias.strides(), alias.storage_offset());
      }
    }
  }

  // Returns the device's tensor for a kernel's result: an argument, a view of one, or a new one.
  at::Tensor result(const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    for (auto& [alias, original] : aliases) {
      if (alias.is_same(tensor)) return original;
    }
    return tensor_over(back(tensor.storage()), c10::DispatchKey::CUDA, tensor);
  }

 private:
  c10::StorageImpl* device_of(const c10::Storage& storage) {
    auto known = originals.find(storage.unsafeGetStorageImpl());
    // A kernel that resizes leaves the alias and takes other memory.
    if (known == originals.end() || storage.nbytes() != known->second.nbytes()) return nullptr;
    return known->second.unsafeGetStorageImpl();
  }

  c10::Storage back(const c10::Storage& storage) {
    if (device_of(storage) != nullptr) return originals.at(storage.unsafeGetStorageImpl());
    c10::Storage made = device_storage(storage.nbytes(), index);
    if (storage.nbytes() != 0) std::memcpy(memory(index).contents(made.mutable_data()), storage.data(), storage.nbytes());
    // Others that share the result's memory share this too.
    originals.emplace(storage.unsafeGetStorageImpl(), made);
    kept.push_back(storage);
    return made;
  }

  c10::DeviceIndex index;
  std::unordered_map<c10::StorageImpl*, c10::Storage> storages;
  std::unordered_map<c10::StorageImpl*, c10::Storage> originals;
  std::vector<std::pair<at::Tensor, at::Tensor>> aliases;
  std::vector<c10::Storage> kept;
};

// Operators whose real kernels take indices from the host.
bool takes_host_indices(const std::string& name) {
  return name == "aten::index" || name == "aten::index_put_" || name == "aten::_index_put_impl_" ||
         name == "aten::_unsafe_index" || name == "aten::copy_";
}

// Says whether a CPU kernel's complaint is about what a real kernel asserts: values, which the host does not know.
bool asserts(const std::string& text) {
  static const char* const complaints[] = {
      "index out of range",
      "out of bounds",
      "is out of range",
      "Class values must be",
      "probability tensor contains",
      "invalid multinomial distribution",
      "all elements of input should be between 0 and 1",
      "all elements of target should be between 0 and 1",
      "Expected p_in >= 0 && p_in <= 1",
      "repeats can not be negative",
      "Number of elements of source < number of ones in mask",
      "argument #4 indices",
      "invalid Poisson rate",
  };
  // Of these the host knows, or it asks.
  if (text.find("Dimension out of range") != std::string::npos) return false;
  if (text.find("sorter index out of range") != std::string::npos) return false;
  return std::any_of(std::begin(complaints), std::end(complaints),
                     [&](const char* complaint) { return text.find(complaint) != std::string::npos; });
}

std::string names_of(const c10::OperatorHandle& op) {
  const auto& name = op.operator_name();
  std::string text = name.name.substr(name.name.find("::") + 2);
  return name.overload_name.empty() ? text : text + "_" + name.overload_name;
}

// Says whether an operator was named to lose the device whatever it is given.
bool is_fatal(const std::string& name) {
  static const char* const named = std::getenv("MOCK_ASSERTS");
  return named != nullptr && name == named;
}

bool is_activation(const c10::OperatorName& name) {
  static const char* const names[] = {"aten::gelu", "aten::sigmoid", "aten::silu", "aten::tanh"};
  return name.overload_name == "out" &&
         std::any_of(std::begin(names), std::end(names), [&](const char* one) { return name.name == one; });
}

// Calls an activation's kernel for full vectors only. A GPU computes each element by itself; the CPU's kernels compute
// those that are left over in another way, so that bits would depend on how many there are.
void call_evenly(const c10::OperatorHandle& op, Stack* stack, size_t count) {
  constexpr int64_t VECTORS = 64;
  c10::IValue& input = (*stack)[stack->size() - count];
  at::Tensor own = input.toTensor(), out = stack->back().toTensor();
  at::Tensor flat = at::zeros({(own.numel() + VECTORS - 1) / VECTORS * VECTORS}, own.options());
  flat.narrow(0, 0, own.numel()).copy_(own.reshape({-1}));
  at::Tensor made = at::empty_like(flat, out.options());
  input = flat;
  stack->back() = made;
  op.callBoxed(stack);
  out.copy_(made.narrow(0, 0, own.numel()).view(own.sizes()));
  stack->back() = out;
}

void run(const c10::OperatorHandle& op, Stack* stack) {
  if (is_fatal(op.operator_name().name)) lost = true;
  check_alive();
  const auto& schema = op.schema();
  size_t count = schema.arguments().size();
  auto arguments = torch::jit::last(*stack, count);

  std::optional<c10::Device> device;
  auto each = [&](auto visit) {
    for (size_t i = 0; i < count; i++) {
      const auto& value = arguments[i];
      if (value.isTensor()) {
        visit(i, value.toTensor());
      } else if (value.isTensorList()) {
        for (const at::Tensor& one : value.toTensorVector()) visit(i, one);
      } else if (value.isList() && value.toListRef().size() > 0) {
        for (const auto& one : value.toListRef()) {
          if (one.isTensor()) visit(i, one.toTensor());
        }
      }
    }
  };
  each([&](size_t, const at::Tensor& one) {
    if (one.defined() && one.is_cuda() && !device) device = one.device();
  });
  for (size_t i = 0; i < count && !device; i++) {
    if (arguments[i].isDevice() && arguments[i].toDevice().is_cuda()) device = arguments[i].toDevice();
  }
  c10::DeviceIndex index = device && device->has_index() ? device->index() : current;
  if (!takes_host_indices(op.operator_name().name)) {
    each([&](size_t at, const at::Tensor& one) {
      if (!one.defined() || (one.is_cpu() && one.dim() == 0) || (one.is_cuda() && one.device().index() == index)) return;
      TORCH_CHECK(false, "Expected all tensors to be on the same device, but got ", schema.arguments()[at].name(),
                  " is on ", one.device(), ", different from other tensors on ", c10::Device(c10::kCUDA, index),
                  " (when checking argument in method wrapper_CUDA_", names_of(op), ")");
    });
  }

  std::vector<at::Tensor> given;
  each([&](size_t, const at::Tensor& one) { given.push_back(one); });
  Call call(index);
  bool random = op.hasTag(at::Tag::nondeterministic_seeded);
  for (size_t i = 0; i < count; i++) {
    c10::IValue value = arguments[i];
    if (value.isTensor()) {
      (*stack)[stack->size() - count + i] = call.alias(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& one : value.toTensorVector()) list.push_back(call.alias(one));
      (*stack)[stack->size() - count + i] = list;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const auto& one : value.toOptionalTensorVector()) {
        list.push_back(one ? std::optional<at::Tensor>(call.alias(*one)) : std::nullopt);
      }
      (*stack)[stack->size() - count + i] = list;
    } else if (value.isDevice() && value.toDevice().is_cuda()) {
      (*stack)[stack->size() - count + i] = c10::Device(c10::kCPU);
    } else if (value.isGenerator() && value.toGenerator().device().is_cuda()) {
      random = false;
      (*stack)[stack->size() - count + i] = inner_of(value.toGenerator());
    }
  }
  try {
    at::AutoDispatchBelowAutograd below;
    Lent lent(random, index);
    if (is_activation(op.operator_name())) {
      call_evenly(op, stack, count);
    } else {
      op.callBoxed(stack);
    }
  } catch (const c10::Error& error) {
    if (asserts(error.what_without_backtrace())) {
      lost = true;
      check_alive();
    }
    throw;
  }
  note(op, given, *stack);
  call.settle();
  size_t results = schema.returns().size();
  for (size_t i = stack->size() - results; i < stack->size(); i++) {
    c10::IValue value = (*stack)[i];
    if (value.isTensor()) {
      (*stack)[i] = call.result(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& one : value.toTensorVector()) list.push_back(call.result(one));
      (*stack)[i] = list;
    }
  }
}

void fallback(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) { run(op, stack); }

c10::DeviceIndex index_of(std::optional<c10::Device> device) {
  return device && device->has_index() ? device->index() : current;
}

at::Tensor empty_strided(c10::SymIntArrayRef sizes, c10::SymIntArrayRef strides, std::optional<c10::ScalarType> dtype,
                         std::optional<c10::Layout>, std::optional<c10::Device> device, std::optional<bool>) {
  auto like = at::empty_strided(C10_AS_INTARRAYREF_SLOW(sizes), C10_AS_INTARRAYREF_SLOW(strides),
                                at::TensorOptions(c10::kMeta).dtype(dtype.value_or(c10::kFloat)));
  c10::DeviceIndex index = index_of(device);
  TORCH_CHECK(index < DEVICES, "CUDA error: invalid device ordinal");
  auto made = at::detail::make_tensor<c10::TensorImpl>(device_storage(like.storage().nbytes(), index),
                                                       c10::DispatchKeySet(c10::DispatchKey::CUDA), like.dtype());
  describe(made, like.sizes(), like.strides(), 0);
  return made;
}

at::Tensor empty(c10::SymIntArrayRef sizes, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout> layout,
                 std::optional<c10::Device> device, std::optional<bool> pinned,
                 std::optional<c10::MemoryFormat> format) {
  auto like = at::empty(C10_AS_INTARRAYREF_SLOW(sizes), at::TensorOptions(c10::kMeta), format);
  return empty_strided(sizes, like.sym_strides(), dtype, layout, device, pinned);
}

// Attention of sequences that lie in one tensor, end to end or with room behind each: one after another, for the CPU has no
// kernel for all. Without `causal` each query sees all keys of its sequence.
at::Tensor attend_varlen(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const at::Tensor& query_starts, const at::Tensor& key_starts,
                         const std::optional<at::Tensor>& used, std::optional<double> scale, bool causal) {
  auto starts = query_starts.cpu(), begins = key_starts.cpu();
  auto counts = used ? used->cpu() : begins.slice(0, 1) - begins.slice(0, 0, -1);
  std::vector<at::Tensor> attended;
  for (int64_t i = 0; i + 1 < starts.numel(); i++) {
    auto sequence = [&](const at::Tensor& all, int64_t from, int64_t count) {
      return all.slice(0, from, from + count).transpose(0, 1).unsqueeze(0).contiguous();
    };
    int64_t first = starts[i].item<int>(), begin = begins[i].item<int>(), count = counts[i].item<int>();
    auto own = sequence(query, first, starts[i + 1].item<int>() - first);
    auto keys = sequence(key, begin, count), values = sequence(value, begin, count);
    int64_t length = own.size(2), past = keys.size(2) - length;
    auto mask = at::ones({length, count}, own.options().dtype(at::kBool));
    if (causal) mask = mask.tril(past);
    auto made = at::scaled_dot_product_attention(own, keys, values, mask, 0.0, false, scale, own.size(1) != keys.size(1));
    attended.push_back(made.squeeze(0).transpose(0, 1));
  }
  return at::cat(attended, 0).contiguous();
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, c10::SymInt, c10::SymInt> efficient_attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>&,
    const std::optional<at::Tensor>& query_starts, const std::optional<at::Tensor>& key_starts,
    std::optional<c10::SymInt> longest_query, std::optional<c10::SymInt> longest_key, double, int64_t mask, bool,
    std::optional<double> scale, const std::optional<at::Tensor>& used, std::optional<int64_t>) {
  Whole whole("aten::_efficient_attention_forward");
  TORCH_CHECK(query_starts && key_starts && (mask == 0 || mask == 2) && query.size(2) == key.size(2),
              "the stand-in has no such attention");
  auto made = attend_varlen(query[0], key[0], value[0], *query_starts, *key_starts, used, scale, mask == 2);
  return {made.unsqueeze(0), {}, {}, {}, *longest_query, *longest_key};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> flash_attention(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const std::optional<at::Tensor>& query_starts, const std::optional<at::Tensor>& key_starts, c10::SymInt, c10::SymInt,
    double, bool causal, bool, std::optional<double> scale, std::optional<c10::SymInt>, std::optional<c10::SymInt>,
    const std::optional<at::Tensor>& used, const std::optional<at::Tensor>&) {
  Whole whole("aten::_flash_attention_forward");
  TORCH_CHECK(query_starts && key_starts && causal && query.element_size() == 2, "the stand-in has no such attention");
  return {attend_varlen(query, key, value, *query_starts, *key_starts, used, scale, true), {}, {}, {}, {}};
}

TORCH_LIBRARY_IMPL(_, CUDA, library) { library.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("_efficient_attention_forward", &efficient_attention);
  library.impl("_flash_attention_forward", &flash_attention);
  // Copies between devices, and operators that libtorch composes of others where a device has no kernel of its own.
  for (const char* name : {"copy_", "native_layer_norm", "native_group_norm", "_fused_rms_norm"}) {
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&fallback>());
  }
}

}  // namespace

// Begins a new list of launches.
extern "C" void mock_list_launches() {
  std::lock_guard<std::mutex> lock(launches.mutex);
  launches.listed = true;
  launches.lines.clear();
}

// Writes as much of the list as there is room for, and returns how long it is.
extern "C" size_t mock_launches(char* into, size_t room) {
  std::lock_guard<std::mutex> lock(launches.mutex);
  if (room != 0) std::memcpy(into, launches.lines.data(), std::min(room, launches.lines.size()));
  return launches.lines.size();
}

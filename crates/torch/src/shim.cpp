#include "shim.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorIndexing.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/AutogradState.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <c10/util/env.h>
#include <dlfcn.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/profiler/orchestration/observer.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace {

using torch::jit::Stack;

char* copy_text(const std::string& text) {
  char* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy != nullptr) std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

// Drops libtorch's warnings: they are about users' code, and would fill the server's log as often as a loop turns.
struct Silence final : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

Silence silence;

// Runs the body and turns whatever it throws into text, without libtorch's C++ stack.
template <typename Body>
bool guarded(Error* error, Body body) {
  auto fail = [&](int32_t kind, const std::string& text) {
    error->kind = kind;
    error->text = copy_text(text);
    return false;
  };
  try {
    c10::WarningUtils::WarningHandlerGuard guard(&silence);
    body();
    return true;
  } catch (const c10::IndexError& e) {
    return fail(ERROR_INDEX, e.what_without_backtrace());
  } catch (const c10::ValueError& e) {
    return fail(ERROR_VALUE, e.what_without_backtrace());
  } catch (const c10::TypeError& e) {
    return fail(ERROR_TYPE, e.what_without_backtrace());
  } catch (const c10::NotImplementedError& e) {
    return fail(ERROR_NOT_IMPLEMENTED, e.what_without_backtrace());
  } catch (const c10::LinAlgError& e) {
    return fail(ERROR_LINALG, e.what_without_backtrace());
  } catch (const c10::OutOfMemoryError& e) {
    return fail(ERROR_MEMORY, e.what_without_backtrace());
  } catch (const c10::Error& e) {
    return fail(ERROR_RUNTIME, e.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return fail(ERROR_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return fail(ERROR_RUNTIME, e.what());
  } catch (...) {
    return fail(ERROR_RUNTIME, "unknown C++ exception");
  }
}

const at::Tensor& tensor_of(const void* tensor) { return *static_cast<const at::Tensor*>(tensor); }

// ---- Accounting -------------------------------------------------------------------------------------------------

struct Account {
  void* account = nullptr;
  Reserve reserve = nullptr;
  Release release = nullptr;
};

thread_local Account current_account;

// What stands before each block of memory. One cache line, so that the block keeps libtorch's alignment.
struct alignas(64) Header {
  size_t bytes;
  Account account;
};
static_assert(sizeof(Header) == 64);

c10::Allocator* inner_allocator = nullptr;

void release_block(void* data) {
  if (data == nullptr) return;
  auto* header = static_cast<Header*>(data) - 1;
  Account account = header->account;
  size_t bytes = header->bytes;
  inner_allocator->raw_deallocate(header);
  if (account.release != nullptr) account.release(account.account, bytes);
}

// Asks the account of the job whose operation runs on this thread before each allocation, so that results,
// intermediates and what autograd keeps are all counted, and refused before they exist.
//
// The context of a block is its data, and what was counted stands in front of it: some kernels use libtorch's raw
// interface, which has room for nothing else and ends the process where it is missing.
class AccountedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &release_block, cpu};
    Account account = current_account;
    if (account.reserve != nullptr) {
      TORCH_CHECK_WITH(
          OutOfMemoryError, account.reserve(account.account, bytes), "tensor memory of this job is used up");
    }
    try {
      auto* header = static_cast<Header*>(inner_allocator->raw_allocate(sizeof(Header) + bytes));
      new (header) Header{bytes, account};
      void* data = header + 1;
      return {data, data, &release_block, cpu};
    } catch (...) {
      if (account.release != nullptr) account.release(account.account, bytes);
      throw;
    }
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release_block; }

  void copy_data(void* to, const void* from, size_t count) const override {
    inner_allocator->copy_data(to, from, count);
  }
};

// Charges device memory, which libtorch's allocator tells of once it has been taken: a refusal cannot stop the
// operation, and is found by whoever pays for it when it is done.
//
// The allocator tells the thread's profiler. Whoever looks for a profiler there finds one that is switched off.
class DeviceAccounts final : public torch::profiler::impl::ProfilerStateBase {
 public:
  DeviceAccounts() : ProfilerStateBase(Config(torch::profiler::impl::ProfilerState::Disabled)) {}

  void reportMemoryUsage(void* block, int64_t bytes, size_t, size_t, c10::Device) override {
    std::lock_guard<std::mutex> lock(mutex);
    // Freed; or freed before, on a thread that tells nobody, and given out again.
    if (auto known = blocks.extract(block)) {
      auto [size, account] = known.mapped();
      account.release(account.account, size);
    }
    Account account = current_account;
    if (bytes > 0 && account.reserve != nullptr && account.reserve(account.account, bytes)) {
      blocks.emplace(block, std::make_pair(static_cast<size_t>(bytes), account));
    }
  }

  // A job that asks for more than it may have is told so, and not that the device is full.
  void reportOutOfMemory(int64_t bytes, size_t, size_t, c10::Device) override {
    Account account = current_account;
    if (account.reserve != nullptr && account.reserve(account.account, bytes)) account.release(account.account, bytes);
  }

  // The CPU's memory is counted already.
  bool memoryProfilingEnabled() const override { return false; }

  torch::profiler::impl::ActiveProfilerType profilerType() override {
    return torch::profiler::impl::ActiveProfilerType::NONE;
  }

 private:
  using Config = torch::profiler::impl::ProfilerConfig;

  std::mutex mutex;
  std::unordered_map<void*, std::pair<size_t, Account>> blocks;
};

std::atomic<bool> has_devices{false};

// Makes the thread's allocations of device memory known, from now to its end.
void listen_to_devices() {
  static thread_local bool listening = false;
  if (listening || !has_devices) return;
  static const auto accounts = std::make_shared<DeviceAccounts>();
  c10::ThreadLocalDebugInfo::_push(c10::DebugInfoKind::PROFILER_STATE, accounts);
  listening = true;
}

// ---- Operators --------------------------------------------------------------------------------------------------

std::vector<c10::OperatorHandle>& operators() {
  static std::vector<c10::OperatorHandle> all;
  return all;
}

std::string type_text(const c10::Argument& argument) {
  std::string text = argument.real_type()->str();
  if (argument.N().has_value()) {
    auto at = text.find("[]");
    if (at != std::string::npos) text.insert(at + 1, std::to_string(*argument.N()));
  }
  return text;
}

c10::IValue number(const Datum& datum, int32_t tag) {
  switch (tag) {
    case TAG_INT:
      return c10::IValue(datum.integer);
    case TAG_FLOAT:
      return c10::IValue(datum.real);
    case TAG_BOOL:
      return c10::IValue(datum.integer != 0);
    default:
      return c10::IValue(c10::complex<double>(datum.real, datum.imaginary));
  }
}

at::Tensor wrapped(const Datum& datum) {
  at::Tensor tensor = c10::scalar_to_tensor(number(datum, datum.kind).toScalar());
  tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return tensor;
}

c10::IValue argument_of(const Datum& datum, const c10::Argument* argument) {
  switch (datum.tag) {
    case TAG_DEFAULT:
      TORCH_CHECK_TYPE(argument != nullptr && argument->default_value().has_value(), "missing argument");
      return *argument->default_value();
    case TAG_NONE:
      return c10::IValue();
    case TAG_TENSOR:
      return c10::IValue(tensor_of(datum.data));
    case TAG_INT:
    case TAG_FLOAT:
    case TAG_BOOL:
    case TAG_COMPLEX:
      return number(datum, datum.tag);
    case TAG_STRING:
      return c10::IValue(std::string(static_cast<const char*>(datum.data), datum.length));
    case TAG_INTS: {
      auto* data = static_cast<const int64_t*>(datum.data);
      return c10::IValue(std::vector<int64_t>(data, data + datum.length));
    }
    case TAG_FLOATS: {
      auto* data = static_cast<const double*>(datum.data);
      return c10::IValue(std::vector<double>(data, data + datum.length));
    }
    case TAG_BOOLS: {
      auto* data = static_cast<const int64_t*>(datum.data);
      c10::List<bool> list;
      for (size_t i = 0; i < datum.length; i++) list.push_back(data[i] != 0);
      return c10::IValue(list);
    }
    case TAG_TENSORS: {
      auto* data = static_cast<const void* const*>(datum.data);
      c10::List<at::Tensor> list;
      for (size_t i = 0; i < datum.length; i++) list.push_back(tensor_of(data[i]));
      return c10::IValue(list);
    }
    case TAG_OPTIONAL_TENSORS: {
      auto* data = static_cast<const void* const*>(datum.data);
      c10::List<std::optional<at::Tensor>> list;
      for (size_t i = 0; i < datum.length; i++) {
        list.push_back(data[i] == nullptr ? std::optional<at::Tensor>() : std::optional<at::Tensor>(tensor_of(data[i])));
      }
      return c10::IValue(list);
    }
    case TAG_WRAPPED:
      return c10::IValue(wrapped(datum));
    case TAG_DEVICE:
      return c10::IValue(c10::Device(static_cast<c10::DeviceType>(datum.kind), static_cast<c10::DeviceIndex>(datum.integer)));
    case TAG_GENERATOR:
      return c10::IValue(*static_cast<const at::Generator*>(datum.data));
    default:
      TORCH_CHECK(false, "argument of unknown kind ", datum.tag);
  }
}

void* owned(const at::Tensor& tensor) { return tensor.defined() ? new at::Tensor(tensor) : nullptr; }

Datum result_of(const c10::IValue& value) {
  Datum datum{};
  auto array = [&](size_t count, size_t size) {
    datum.length = count;
    datum.data = std::calloc(std::max<size_t>(count, 1), size);
    if (datum.data == nullptr) throw std::bad_alloc();
    return const_cast<void*>(datum.data);
  };
  if (value.isTensor()) {
    datum.data = owned(value.toTensor());
    datum.tag = datum.data == nullptr ? TAG_NONE : TAG_TENSOR;
  } else if (value.isInt() || value.isSymInt()) {
    datum.tag = TAG_INT;
    datum.integer = value.isInt() ? value.toInt() : value.toSymInt().expect_int();
  } else if (value.isDouble()) {
    datum.tag = TAG_FLOAT;
    datum.real = value.toDouble();
  } else if (value.isBool()) {
    datum.tag = TAG_BOOL;
    datum.integer = value.toBool();
  } else if (value.isComplexDouble()) {
    datum.tag = TAG_COMPLEX;
    datum.real = value.toComplexDouble().real();
    datum.imaginary = value.toComplexDouble().imag();
  } else if (value.isTensorList()) {
    auto list = value.toTensorVector();
    datum.tag = TAG_TENSORS;
    auto** data = static_cast<void**>(array(list.size(), sizeof(void*)));
    for (size_t i = 0; i < list.size(); i++) data[i] = owned(list[i]);
  } else if (value.isIntList()) {
    auto list = value.toIntVector();
    datum.tag = TAG_INTS;
    std::copy(list.begin(), list.end(), static_cast<int64_t*>(array(list.size(), sizeof(int64_t))));
  } else if (value.isString()) {
    const std::string& text = value.toStringRef();
    datum.tag = TAG_STRING;
    std::memcpy(array(text.size(), 1), text.data(), text.size());
  } else if (value.isNone()) {
    datum.tag = TAG_NONE;
  } else {
    TORCH_CHECK(false, "result of unsupported kind ", value.tagKind());
  }
  return datum;
}

// Lends a job's generator to an operator that only knows the process's default one.
template <typename Body>
void with_default_generator(at::Generator* job, Body body) {
  static std::mutex lending;
  std::lock_guard<std::mutex> lock(lending);
  at::Generator shared = at::globalContext().defaultGenerator(job->device());
  at::Tensor before = shared.get_state();
  auto set = [&](const at::Tensor& state) {
    std::lock_guard<std::mutex> own(shared.mutex());
    shared.set_state(state);
  };
  auto restore = [&] {
    job->set_state(shared.get_state());
    set(before);
  };
  set(job->get_state());
  try {
    body();
  } catch (...) {
    restore();
    throw;
  }
  restore();
}

std::vector<at::indexing::TensorIndex> indices_of(const Datum* data, size_t count) {
  std::vector<at::indexing::TensorIndex> indices;
  for (size_t i = 0; i < count; i++) {
    const Datum& datum = data[i];
    switch (datum.tag) {
      case TAG_NONE:
        indices.emplace_back(at::indexing::None);
        break;
      case TAG_ELLIPSIS:
        indices.emplace_back(at::indexing::Ellipsis);
        break;
      case TAG_INT:
        indices.emplace_back(datum.integer);
        break;
      case TAG_BOOL:
        indices.emplace_back(datum.integer != 0);
        break;
      case TAG_TENSOR:
        indices.emplace_back(tensor_of(datum.data));
        break;
      case TAG_SLICE: {
        auto* parts = static_cast<const int64_t*>(datum.data);
        auto part = [&](int at) {
          return (datum.kind >> at) & 1 ? std::optional<c10::SymInt>(parts[at]) : std::optional<c10::SymInt>();
        };
        indices.emplace_back(at::indexing::Slice(part(0), part(1), part(2)));
        break;
      }
      default:
        TORCH_CHECK_INDEX(false, "index of unknown kind");
    }
  }
  return indices;
}

}  // namespace

extern "C" {

void vt_free(void* memory) { std::free(memory); }

// Puts the accounting allocator in front of libtorch's own. Once per process, before the first tensor.
void vt_account_allocations() {
  static std::once_flag once;
  std::call_once(once, [] {
#ifdef __GLIBC__
    // A pass allocates and frees the same megabytes in every layer. Given back to the system each time, their pages
    // would be faulted in and cleared again: a sixth of the time of a pass of a thousand tokens.
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 64 << 20);
#endif
    inner_allocator = c10::GetCPUAllocator();
    static AccountedAllocator allocator;
    c10::SetCPUAllocator(&allocator, 255);
  });
}

// Names the account that pays for this thread's allocations; nulls for none.
void vt_set_account(void* account, Reserve reserve, Release release) {
  listen_to_devices();
  current_account = {account, reserve, release};
}

// Lists every `aten::` operator, one a line: handle, name, overload, flags, arguments, returns, tab-separated.
// The text is freed by vt_free.
char* vt_operators(Error* error) {
  char* text = nullptr;
  guarded(error, [&] {
    auto& dispatcher = c10::Dispatcher::singleton();
    auto& all = operators();
    std::ostringstream out;
    for (const auto& name : dispatcher.getAllOpNames()) {
      if (name.name.rfind("aten::", 0) != 0) continue;
      auto handle = dispatcher.findSchema(name);
      if (!handle.has_value()) continue;
      const auto& schema = handle->schema();
      out << all.size() << '\t' << name.name.substr(6) << '\t' << name.overload_name << '\t';
      if (handle->hasTag(at::Tag::nondeterministic_seeded)) out << 'r';
      out << '\t';
      for (const auto& argument : schema.arguments()) {
        out << argument.name() << ',' << type_text(argument) << ',';
        if (argument.default_value().has_value()) out << 'd';
        if (argument.kwarg_only()) out << 'k';
        if (argument.alias_info() != nullptr) out << (argument.alias_info()->isWrite() ? 'w' : 'v');
        out << ';';
      }
      out << '\t';
      for (const auto& argument : schema.returns()) out << argument.name() << ',' << type_text(argument) << ",;";
      out << '\n';
      all.push_back(*handle);
    }
    text = copy_text(out.str());
  });
  return text;
}

// Calls an operator. `results` receives a malloc'ed array of `*count` values; the caller owns it and all in it.
bool vt_call(size_t handle, const Datum* arguments, size_t count, bool gradients, at::Generator* lent, Datum** results,
             size_t* result_count, Error* error) {
  return guarded(error, [&] {
    const auto& op = operators().at(handle);
    const auto& schema = op.schema().arguments();
    TORCH_CHECK_TYPE(schema.size() == count, "expected ", schema.size(), " arguments, got ", count);
    Stack stack;
    stack.reserve(count);
    for (size_t i = 0; i < count; i++) stack.push_back(argument_of(arguments[i], &schema[i]));
    at::AutoGradMode mode(gradients);
    if (lent == nullptr) {
      op.callBoxed(&stack);
    } else {
      with_default_generator(lent, [&] { op.callBoxed(&stack); });
    }
    auto* data = static_cast<Datum*>(std::calloc(std::max<size_t>(stack.size(), 1), sizeof(Datum)));
    if (data == nullptr) throw std::bad_alloc();
    for (size_t i = 0; i < stack.size(); i++) data[i] = result_of(stack[i]);
    *results = data;
    *result_count = stack.size();
  });
}

void vt_facts(const void* tensor, Facts* facts) {
  const at::Tensor& t = tensor_of(tensor);
  facts->dtype = static_cast<int32_t>(t.scalar_type());
  facts->device_type = static_cast<int32_t>(t.device().type());
  facts->device_index = t.device().index();
  facts->layout = static_cast<int32_t>(t.layout());
  facts->dimensions = t.dim();
  facts->elements = t.numel();
  facts->element_size = static_cast<int64_t>(t.element_size());
  facts->storage = t.has_storage() ? t.storage().unsafeGetStorageImpl() : nullptr;
  facts->storage_offset = t.has_storage() ? t.storage_offset() : 0;
  facts->requires_grad = t.requires_grad();
  facts->is_leaf = t.is_leaf();
  facts->is_contiguous = t.has_storage() && t.is_contiguous();
  facts->is_conj = t.is_conj();
}

void vt_sizes(const void* tensor, int64_t* sizes, int64_t* strides) {
  const at::Tensor& t = tensor_of(tensor);
  std::copy(t.sizes().begin(), t.sizes().end(), sizes);
  if (t.layout() == at::kStrided) std::copy(t.strides().begin(), t.strides().end(), strides);
}

// Copies the elements, row-major, to plain memory of exactly that size.
bool vt_read(const void* tensor, void* to, size_t bytes, Error* error) {
  return guarded(error, [&] {
    at::NoGradGuard no_grad;
    at::Tensor plain = tensor_of(tensor).detach().resolve_conj().resolve_neg().to(at::kCPU).contiguous();
    TORCH_CHECK(plain.nbytes() == bytes, "expected ", plain.nbytes(), " bytes, got ", bytes);
    if (bytes != 0) std::memcpy(to, plain.const_data_ptr(), bytes);
  });
}

// Makes a CPU tensor with its own memory from row-major elements.
void* vt_of_bytes(int32_t dtype, const int64_t* sizes, size_t dimensions, const void* from, size_t bytes, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
    at::Tensor t = at::empty(at::IntArrayRef(sizes, dimensions), static_cast<at::ScalarType>(dtype));
    TORCH_CHECK(t.nbytes() == bytes, "shape takes ", t.nbytes(), " bytes, got ", bytes);
    if (bytes != 0) std::memcpy(t.mutable_data_ptr(), from, bytes);
    made = new at::Tensor(t);
  });
  return made;
}

// Another handle on the same tensor: the same autograd node, unlike a view.
void* vt_clone_handle(const void* tensor) { return new (std::nothrow) at::Tensor(tensor_of(tensor)); }

// Puts a `[out, in]` matrix into the blocks that oneDNN's kernels read for so many rows.
void* vt_pack_linear(const void* weight, int64_t rows, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
    static const c10::OperatorHandle handle =
        c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_linear_weight", "");
    torch::jit::Stack stack;
    stack.emplace_back(tensor_of(weight));
    stack.emplace_back(rows);
    at::AutoGradMode mode(false);
    handle.callBoxed(stack);
    made = new at::Tensor(stack.at(0).toTensor());
  });
  return made;
}

// x · wᵀ + b by oneDNN, w being packed. It records no gradients.
void* vt_linear_packed(const void* input, const void* weight, const void* bias, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
    static const c10::OperatorHandle handle =
        c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "");
    torch::jit::Stack stack;
    stack.emplace_back(tensor_of(input));
    stack.emplace_back(tensor_of(weight));
    stack.emplace_back(bias == nullptr ? c10::IValue() : c10::IValue(tensor_of(bias)));
    stack.emplace_back("none");
    stack.emplace_back(c10::List<std::optional<at::Scalar>>());
    stack.emplace_back("");
    at::AutoGradMode mode(false);
    handle.callBoxed(stack);
    made = new at::Tensor(stack.at(0).toTensor());
  });
  return made;
}

// An operation with a number, in the order of `number.rs`.
void* vt_with_number(int32_t operation, const void* tensor, double number, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
    const at::Tensor& t = tensor_of(tensor);
    switch (operation) {
      case 0: made = new at::Tensor(at::add(t, number)); break;
      case 1: made = new at::Tensor(at::mul(t, number)); break;
      case 2: made = new at::Tensor(at::div(t, number)); break;
      case 3: made = new at::Tensor(at::pow(t, number)); break;
      case 4: made = new at::Tensor(at::lt(t, number)); break;
      default: made = new at::Tensor(at::le(t, number));
    }
  });
  return made;
}

// Counts the writes in place to a tensor and all views of it.
int64_t vt_version(const void* tensor) {
  const at::Tensor& own = tensor_of(tensor);
  return own.is_inference() ? 0 : own._version();
}

bool vt_is_same(const void* left, const void* right) { return tensor_of(left).is_same(tensor_of(right)); }

void* vt_get_item(const void* tensor, const Datum* indices, size_t count, bool gradients, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
    at::AutoGradMode mode(gradients);
    made = new at::Tensor(at::indexing::get_item(tensor_of(tensor), indices_of(indices, count)));
  });
  return made;
}

// Writes a tensor, or a number, through indices.
bool vt_set_item(const void* tensor, const Datum* indices, size_t count, const Datum* value, bool gradients, Error* error) {
  return guarded(error, [&] {
    at::AutoGradMode mode(gradients);
    const at::Tensor& self = tensor_of(tensor);
    at::Tensor from;
    if (value->tag == TAG_TENSOR) {
      from = tensor_of(value->data);
    } else {
      at::tracer::impl::NoTracerDispatchMode no_trace;
      from = at::indexing::scalarToTensor(number(*value, value->tag).toScalar(), self.options(), self.device());
    }
    at::indexing::set_item(self, indices_of(indices, count), from);
  });
}

// ---- Autograd ---------------------------------------------------------------------------------------------------

bool vt_set_requires_grad(const void* tensor, bool on, Error* error) {
  return guarded(error, [&] {
    const at::Tensor& t = tensor_of(tensor);
    TORCH_CHECK(t.is_leaf() || on,
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
    TORCH_CHECK(!on || torch::autograd::isDifferentiableType(t.scalar_type()),
                "only Tensors of floating point dtype can require gradients");
    t.requires_grad_(on);
  });
}

// The accumulated gradient, or null.
void* vt_grad(const void* tensor, Error* error) {
  void* made = nullptr;
  guarded(error, [&] { made = owned(tensor_of(tensor).grad()); });
  return made;
}

bool vt_set_grad(const void* tensor, const void* gradient, Error* error) {
  return guarded(error, [&] {
    tensor_of(tensor).mutable_grad() = gradient == nullptr ? at::Tensor() : tensor_of(gradient);
  });
}

bool vt_retain_grad(const void* tensor, Error* error) {
  return guarded(error, [&] { tensor_of(tensor).retain_grad(); });
}

// Says whether operations on this thread record what gradients need.
bool vt_recording() { return at::GradMode::is_enabled(); }

// Sets it.
void vt_set_recording(bool on) { at::GradMode::set_enabled(on); }

// Calls the hook with the gradient whenever one reaches the tensor. `drop` ends the hook's life.
bool vt_register_hook(const void* tensor, GradientHook hook, void* context, Drop drop, unsigned* handle, Error* error) {
  std::shared_ptr<void> owner(context, drop);
  return guarded(error, [&] {
    *handle = tensor_of(tensor).register_hook([hook, owner](const at::Tensor& gradient) {
      void* replaced = nullptr;
      TORCH_CHECK(hook(owner.get(), &gradient, &replaced), "a gradient hook failed");
      if (replaced == nullptr) return at::Tensor();
      std::unique_ptr<at::Tensor> held(static_cast<at::Tensor*>(replaced));
      return *held;
    });
  });
}

bool vt_remove_hook(const void* tensor, unsigned handle, Error* error) {
  return guarded(error, [&] { tensor_of(tensor).remove_hook(handle); });
}

// Lists the leaves that outputs were computed from, malloc'ed.
bool vt_leaves(const void* const* outputs, size_t output_count, void*** results, size_t* result_count, Error* error) {
  return guarded(error, [&] {
    std::vector<torch::autograd::Node*> open;
    std::unordered_set<torch::autograd::Node*> seen;
    std::vector<at::Tensor> leaves;
    auto visit = [&](torch::autograd::Node* node) {
      if (node != nullptr && seen.insert(node).second) open.push_back(node);
    };
    for (size_t i = 0; i < output_count; i++) {
      const at::Tensor& output = tensor_of(outputs[i]);
      if (output.requires_grad()) visit(torch::autograd::impl::gradient_edge(output).function.get());
    }
    while (!open.empty()) {
      auto* node = open.back();
      open.pop_back();
      if (auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(node)) leaves.push_back(leaf->variable);
      for (const auto& edge : node->next_edges()) visit(edge.function.get());
    }
    auto** data = static_cast<void**>(std::calloc(std::max<size_t>(leaves.size(), 1), sizeof(void*)));
    if (data == nullptr) throw std::bad_alloc();
    for (size_t i = 0; i < leaves.size(); i++) data[i] = owned(leaves[i]);
    *results = data;
    *result_count = leaves.size();
  });
}

// A product with a weight that has no gradient: what goes in has that of the product, times the weight.
struct ProductBackward : torch::autograd::Node {
  Product multiply;
  std::shared_ptr<void> context;
  bool released = false;

  ProductBackward(Product multiply, std::shared_ptr<void> context) : multiply(multiply), context(std::move(context)) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    // Nothing is saved here that could be lost, but beside any other function PyTorch's own product would be.
    TORCH_CHECK(!released, torch::autograd::ERR_BACKWARD_TWICE);
    const at::Tensor& gradient = gradients.at(0);
    if (!gradient.defined()) return {at::Tensor()};
    std::unique_ptr<at::Tensor> made(
        static_cast<at::Tensor*>(multiply(context.get(), &gradient, at::GradMode::is_enabled())));
    TORCH_CHECK(made != nullptr, "the gradient of a product could not be computed");
    return {*made};
  }

  void release_variables() override { released = true; }
  std::string name() const override { return "LinearBackward0"; }
};

// Makes a tensor that was computed from `input` by a product its outcome. `drop` ends the context's life.
void* vt_record_product(const void* input, const void* product, void* context, Product multiply, Drop drop, Error* error) {
  std::shared_ptr<void> owner(context, drop);
  void* made = nullptr;
  guarded(error, [&] {
    at::Tensor output = tensor_of(product);
    std::shared_ptr<ProductBackward> node(new ProductBackward(multiply, owner), torch::autograd::deleteNode);
    node->set_next_edges(torch::autograd::collect_next_edges(tensor_of(input)));
    torch::autograd::set_history(output, node);
    made = new at::Tensor(output);
  });
  return made;
}

// Keeps a backward pass on the thread that begins it: hooks belong there, and so do its allocations' accounts.
struct OneThread {
  bool before = c10::AutogradState::get_tls_state().get_multithreading_enabled();
  OneThread() { c10::AutogradState::get_tls_state().set_multithreading_enabled(false); }
  ~OneThread() { c10::AutogradState::get_tls_state().set_multithreading_enabled(before); }
};

// Computes gradients of `outputs`. With `inputs`, answers theirs in `results` (malloc'ed, null for unused) and
// accumulates nothing; without, accumulates into the leaves.
bool vt_gradients(const void* const* outputs, const void* const* seeds, size_t output_count, const void* const* inputs,
                  size_t input_count, bool accumulate, bool retain_graph, bool create_graph, bool allow_unused,
                  void*** results, Error* error) {
  return guarded(error, [&] {
    auto list = [](const void* const* from, size_t count) {
      torch::autograd::variable_list tensors;
      for (size_t i = 0; i < count; i++) tensors.push_back(from[i] == nullptr ? at::Tensor() : tensor_of(from[i]));
      return tensors;
    };
    auto roots = list(outputs, output_count);
    auto given = list(seeds, output_count);
    auto wanted = list(inputs, input_count);
    at::AutoGradMode mode(true);
    OneThread one_thread;
    if (accumulate) {
      torch::autograd::backward(roots, given, retain_graph, create_graph, wanted);
      return;
    }
    auto gradients = torch::autograd::grad(roots, wanted, given, retain_graph, create_graph, allow_unused);
    auto** data = static_cast<void**>(std::calloc(std::max<size_t>(gradients.size(), 1), sizeof(void*)));
    if (data == nullptr) throw std::bad_alloc();
    for (size_t i = 0; i < gradients.size(); i++) data[i] = owned(gradients[i]);
    *results = data;
  });
}

// The name of the function that made the tensor, as in `grad_fn=<MulBackward0>`; null for leaves.
char* vt_grad_fn(const void* tensor) {
  try {
    const auto& node = tensor_of(tensor).grad_fn();
    return node == nullptr ? nullptr : copy_text(node->name());
  } catch (...) {
    return nullptr;
  }
}

// ---- Randomness -------------------------------------------------------------------------------------------------

void* vt_generator(int32_t device_type, int32_t device_index, uint64_t seed, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
    c10::Device device(static_cast<c10::DeviceType>(device_type), static_cast<c10::DeviceIndex>(device_index));
    at::Generator generator = device.is_cpu() ? at::detail::createCPUGenerator(seed)
                                              : at::globalContext().defaultGenerator(device).clone();
    generator.set_current_seed(seed);
    made = new at::Generator(generator);
  });
  return made;
}

void vt_generator_free(void* generator) { delete static_cast<at::Generator*>(generator); }

bool vt_generator_seed(void* generator, uint64_t seed, Error* error) {
  return guarded(error, [&] { static_cast<at::Generator*>(generator)->set_current_seed(seed); });
}

uint64_t vt_generator_initial_seed(const void* generator) {
  try {
    return static_cast<const at::Generator*>(generator)->current_seed();
  } catch (...) {
    return 0;
  }
}

void* vt_generator_state(const void* generator, Error* error) {
  void* made = nullptr;
  guarded(error, [&] { made = new at::Tensor(static_cast<const at::Generator*>(generator)->get_state()); });
  return made;
}

bool vt_generator_set_state(void* generator, const void* state, Error* error) {
  return guarded(error, [&] { static_cast<at::Generator*>(generator)->set_state(tensor_of(state)); });
}

// ---- Devices ----------------------------------------------------------------------------------------------------

// Loads a library for the whole process, all that it needs included, and never unloads it.
bool vt_load_library(const char* path, Error* error) {
  return guarded(error, [&] {
    if (dlopen(path, RTLD_NOW | RTLD_GLOBAL) == nullptr) TORCH_CHECK(false, dlerror());
  });
}

// The file that libtorch's CPU part was loaded from, malloc'ed.
char* vt_libtorch_file() {
  Dl_info info{};
  auto* known = reinterpret_cast<void*>(&at::detail::getCUDAHooks);
  return dladdr(known, &info) == 0 || info.dli_fname == nullptr ? nullptr : copy_text(info.dli_fname);
}

// The devices that a loaded CUDA part shows. Never to be asked before it is loaded: libtorch would remember that there
// is none.
int64_t vt_devices() {
  try {
    return at::detail::getCUDAHooks().getNumGPUs();
  } catch (...) {
    return 0;
  }
}

// Has devices compute the same numbers every time, in the precision that tensors have, and counts their memory. While
// the process has one thread: the environment is written to.
bool vt_use_devices(Error* error) {
  return guarded(error, [&] {
    // cuBLAS chooses among workspaces, and by that among kernels, by what runs beside it.
    c10::utils::set_env("CUBLAS_WORKSPACE_CONFIG", ":4096:8");
    auto& context = at::globalContext();
    context.setFloat32MatmulPrecision("highest");
    context.setAllowTF32CuBLAS(false);
    context.setAllowTF32CuDNN(false);
    context.setAllowFP16ReductionCuBLAS(false);
    context.setAllowBF16ReductionCuBLAS(false);
    context.setAllowFP16AccumulationCuBLAS(false);
    context.setBenchmarkCuDNN(false);
    context.setDeterministicCuDNN(true);
    // Where no sum of a fixed order is known for an operator, this only warns. What is allocated is written anyway.
    context.setDeterministicAlgorithms(true, /*warn_only=*/true);
    context.setDeterministicFillUninitializedMemory(false);
    has_devices = true;
  });
}

// Waits for a device. Fails where it is lost: nothing that this process asks of it will succeed again.
bool vt_synchronize(int32_t index, Error* error) {
  return guarded(error, [&] { at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(index)); });
}
}

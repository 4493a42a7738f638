// libtorch's operators, and tensors as they go in and out.
#include "guard.h"

#include <ATen/ATen.h>
#include <ATen/TensorIndexing.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <mutex>
#include <sstream>
#include <vector>

namespace {

using torch::jit::Stack;

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
  const bool is_unsigned = datum.kind == TAG_UNSIGNED;
  at::Tensor tensor = c10::scalar_to_tensor(is_unsigned ? at::Scalar(static_cast<uint64_t>(datum.integer))
                                                        : number(datum, datum.kind).toScalar());
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

void pay_for_graphs(const c10::IValue& result) {
  if (result.isTensor()) return pay_for_graph(result.toTensor());
  if (!result.isTensorList()) return;
  for (const at::Tensor& tensor : result.toTensorVector()) pay_for_graph(tensor);
}

// Sets autocast for a kind of device, and puts back what was set.
class Cast {
 public:
  Cast(at::DeviceType device, int8_t type) : device(device), before(at::autocast::is_autocast_enabled(device)) {
    on = type != NO_CAST;
    if (!on && !before) return;
    before_type = at::autocast::get_autocast_dtype(device);
    if (on) at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(type));
    at::autocast::set_autocast_enabled(device, on);
  }

  ~Cast() {
    if (!on && !before) return;
    at::autocast::set_autocast_enabled(device, before);
    at::autocast::set_autocast_dtype(device, before_type);
  }

  bool on;

 private:
  at::DeviceType device;
  bool before;
  at::ScalarType before_type = at::kFloat;
};

// Calls operators as a mode says while it lives. Of weights that were cast nothing is kept: the cache has no owner to pay.
class Under {
 public:
  explicit Under(Mode mode) : recording(mode.gradients), cpu(at::kCPU, mode.cpu_cast), gpu(at::kCUDA, mode.gpu_cast) {
    if (!cpu.on && !gpu.on) return;
    cached = at::autocast::is_autocast_cache_enabled();
    at::autocast::set_autocast_cache_enabled(false);
  }

  ~Under() {
    if (cpu.on || gpu.on) at::autocast::set_autocast_cache_enabled(cached);
  }

 private:
  at::AutoGradMode recording;
  Cast cpu, gpu;
  bool cached = true;
};

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

// Says what this side takes the numbers and the forms of the interface to be: `name=number` in each line. Freed by vt_free.
char* vt_interface(Error* error) {
  char* text = nullptr;
  guarded(error, [&] {
    std::ostringstream out;
#define SAY(what) out << #what << '=' << static_cast<int64_t>(what) << '\n'
    SAY(TAG_DEFAULT), SAY(TAG_NONE), SAY(TAG_TENSOR), SAY(TAG_INT), SAY(TAG_FLOAT), SAY(TAG_BOOL), SAY(TAG_COMPLEX);
    SAY(TAG_STRING), SAY(TAG_INTS), SAY(TAG_FLOATS), SAY(TAG_BOOLS), SAY(TAG_TENSORS), SAY(TAG_OPTIONAL_TENSORS);
    SAY(TAG_WRAPPED), SAY(TAG_DEVICE), SAY(TAG_GENERATOR), SAY(TAG_ELLIPSIS), SAY(TAG_SLICE), SAY(TAG_UNSIGNED);
    SAY(ERROR_RUNTIME), SAY(ERROR_INDEX), SAY(ERROR_VALUE), SAY(ERROR_TYPE), SAY(ERROR_NOT_IMPLEMENTED);
    SAY(ERROR_LINALG), SAY(ERROR_MEMORY), SAY(RESERVED_NO), SAY(RESERVED_YES), SAY(RESERVED_UNPAID), SAY(NO_CAST);
    SAY(sizeof(Datum)), SAY(offsetof(Datum, kind)), SAY(offsetof(Datum, integer)), SAY(offsetof(Datum, real));
    SAY(offsetof(Datum, imaginary)), SAY(offsetof(Datum, data)), SAY(offsetof(Datum, length));
    SAY(sizeof(Error)), SAY(offsetof(Error, text)), SAY(sizeof(Mode)), SAY(offsetof(Mode, cpu_cast));
    SAY(offsetof(Mode, gpu_cast)), SAY(sizeof(Panels)), SAY(offsetof(Panels, outputs)), SAY(offsetof(Panels, step));
    SAY(offsetof(Panels, stride)), SAY(offsetof(Panels, stretch)), SAY(sizeof(Facts)), SAY(offsetof(Facts, device_type));
    SAY(offsetof(Facts, device_index)), SAY(offsetof(Facts, layout)), SAY(offsetof(Facts, dimensions));
    SAY(offsetof(Facts, elements)), SAY(offsetof(Facts, element_size)), SAY(offsetof(Facts, storage_offset));
    SAY(offsetof(Facts, storage)), SAY(offsetof(Facts, requires_grad)), SAY(offsetof(Facts, is_leaf));
    SAY(offsetof(Facts, is_contiguous)), SAY(offsetof(Facts, is_conj));
#undef SAY
    text = copy_text(out.str());
  });
  return text;
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
bool vt_call(size_t handle, const Datum* arguments, size_t count, Mode mode, at::Generator* lent, Datum** results,
             size_t* result_count, Error* error) {
  return guarded(error, [&] {
    const auto& op = operators().at(handle);
    const auto& schema = op.schema().arguments();
    TORCH_CHECK_TYPE(schema.size() == count, "expected ", schema.size(), " arguments, got ", count);
    Stack stack;
    stack.reserve(count);
    for (size_t i = 0; i < count; i++) stack.push_back(argument_of(arguments[i], &schema[i]));
    Under under(mode);
    if (lent == nullptr) {
      op.callBoxed(&stack);
    } else {
      with_default_generator(lent, [&] { op.callBoxed(&stack); });
    }
    if (mode.gradients) {
      for (const auto& result : stack) pay_for_graphs(result);
    }
    auto* data = static_cast<Datum*>(std::calloc(std::max<size_t>(stack.size(), 1), sizeof(Datum)));
    if (data == nullptr) throw std::bad_alloc();
    for (size_t i = 0; i < stack.size(); i++) data[i] = result_of(stack[i]);
    *results = data;
    *result_count = stack.size();
  });
}

void vt_facts(const void* tensor, Facts* facts) {
  *facts = Facts{};
  quietly([&] {
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
  });
}

// Both have room for as many numbers as `vt_facts` said that there are dimensions, and are zeros before.
void vt_sizes(const void* tensor, int64_t* sizes, int64_t* strides) {
  quietly([&] {
    const at::Tensor& t = tensor_of(tensor);
    std::copy(t.sizes().begin(), t.sizes().end(), sizes);
    if (t.layout() == at::kStrided) std::copy(t.strides().begin(), t.strides().end(), strides);
  });
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
    Lasting lasting;
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

// Causal attention of sequences that lie end to end: `[tokens, heads, dim]` each, where they begin being int32. By
// FlashAttention's kernel for types of half the size, which takes grouped heads, else by xFormers', which does not.
void* vt_attend_varlen(const void* query, const void* key, const void* value, const void* query_starts,
                       const void* key_starts, const void* keys_used, int64_t longest_query, int64_t longest_key,
                       bool causal, double scale, Error* error) {
  const int64_t mask = causal ? 2 : 0;  // From the end, or none.
  void* made = nullptr;
  guarded(error, [&] {
    at::AutoGradMode mode(false);
    const at::Tensor& q = tensor_of(query);
    const at::Tensor& k = tensor_of(key);
    const at::Tensor& v = tensor_of(value);
    std::optional<at::Tensor> used;
    if (keys_used != nullptr) used = tensor_of(keys_used);
    if (q.element_size() == 2) {
      made = new at::Tensor(std::get<0>(at::_flash_attention_forward(q, k, v, tensor_of(query_starts),
                                                                     tensor_of(key_starts), longest_query, longest_key,
                                                                     0.0, causal, false, scale, std::nullopt,
                                                                     std::nullopt, used)));
    } else {
      auto attended = at::_efficient_attention_forward(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), std::nullopt,
                                                       tensor_of(query_starts), tensor_of(key_starts), longest_query,
                                                       longest_key, 0.0, mask, false, scale, used);
      made = new at::Tensor(std::get<0>(attended).squeeze(0));
    }
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
      case 5: made = new at::Tensor(at::le(t, number)); break;
      case 6: made = new at::Tensor(t.add_(number)); break;
      default: made = new at::Tensor(t.mul_(number));
    }
  });
  return made;
}

// Counts the writes in place to a tensor and all views of it.
int64_t vt_version(const void* tensor) {
  int64_t version = 0;
  quietly([&] {
    const at::Tensor& own = tensor_of(tensor);
    if (!own.is_inference()) version = own._version();
  });
  return version;
}

// Names the object that a tensor is a handle of.
const void* vt_identity(const void* tensor) noexcept { return tensor_of(tensor).unsafeGetTensorImpl(); }

bool vt_is_same(const void* left, const void* right) noexcept { return tensor_of(left).is_same(tensor_of(right)); }

void* vt_get_item(const void* tensor, const Datum* indices, size_t count, Mode mode, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
    Under under(mode);
    at::Tensor item = at::indexing::get_item(tensor_of(tensor), indices_of(indices, count));
    pay_for_graph(item);
    made = owned(item);
  });
  return made;
}

// Writes a tensor, or a number, through indices.
bool vt_set_item(const void* tensor, const Datum* indices, size_t count, const Datum* value, Mode mode, Error* error) {
  return guarded(error, [&] {
    Under under(mode);
    const at::Tensor& self = tensor_of(tensor);
    at::Tensor from;
    if (value->tag == TAG_TENSOR) {
      from = tensor_of(value->data);
    } else {
      at::tracer::impl::NoTracerDispatchMode no_trace;
      from = at::indexing::scalarToTensor(number(*value, value->tag).toScalar(), self.options(), self.device());
    }
    at::indexing::set_item(self, indices_of(indices, count), from);
    pay_for_graph(self);
  });
}
}

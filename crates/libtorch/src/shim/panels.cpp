// Products of few rows by matrices that oneDNN has packed.
//
// oneDNN's kernels are made for many rows: with few they take half again the time that it takes to read the matrix. Here
// each panel of it is read once, from end to end, for up to six rows whose sums stay in registers. A row's sums are added
// up in the order of its inputs, whichever rows are computed beside it, and however many; in stretches, as oneDNN does it,
// whose part of a panel stays in the cache between rows.
#include "guard.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#ifdef __x86_64__
#include <immintrin.h>
// The compiler makes use of those for bfloat16 only where it is told to.
#define VECTORS __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

namespace {

// Outputs of one panel.
constexpr int64_t WIDTH = 64;
constexpr int64_t VECTORS_WIDE = WIDTH / 16;
// Rows whose sums fit into registers, beside a panel's numbers.
constexpr int64_t ROWS = 6;

VECTORS __m512i broadcast(const void* bits) {
  int32_t number;
  std::memcpy(&number, bits, sizeof(number));
  return _mm512_set1_epi32(number);
}

// What matrices consist of: how many inputs of an output share 32 bits, and how they are multiplied.
struct Float {
  using Bits = uint32_t;
  static constexpr int64_t INPUTS = 1;
  VECTORS static __m512 factor(const Bits* input) { return _mm512_castsi512_ps(broadcast(input)); }
  VECTORS static __m512 add(__m512 sum, __m512i bits, __m512 factor) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(bits), factor, sum);
  }
};

struct Pairs {
  using Bits = uint16_t;
  static constexpr int64_t INPUTS = 2;
  VECTORS static __m512i factor(const Bits* inputs) { return broadcast(inputs); }
};

// Widened to floats: a bfloat16 is a float's upper half.
struct WidenedPairs : Pairs {
  VECTORS static __m512 first(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
  VECTORS static __m512 second(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(0xffff0000)));
  }
  VECTORS static __m512 add(__m512 sum, __m512i bits, __m512i factor) {
    sum = _mm512_fmadd_ps(first(bits), first(factor), sum);
    return _mm512_fmadd_ps(second(bits), second(factor), sum);
  }
};

// By the processor's own instruction.
struct DotPairs : Pairs {
  VECTORS static __m512 add(__m512 sum, __m512i bits, __m512i factor) {
    return _mm512_dpbf16_ps(sum, (__m512bh)bits, (__m512bh)factor);
  }
};

// Adds a stretch of inputs of `COUNT` rows up, by one panel; and that to what there is, unless it is the first.
template <typename Type, int64_t COUNT>
VECTORS void add(const typename Type::Bits* panel, int64_t step, const typename Type::Bits* rows, int64_t pitch,
                 int64_t inputs, bool first, float* sums) {
  __m512 sum[COUNT][VECTORS_WIDE];
  for (auto& row : sum) {
    for (auto& part : row) part = _mm512_setzero_ps();
  }
  for (int64_t input = 0; input < inputs; input += Type::INPUTS, panel += step) {
    __m512i bits[VECTORS_WIDE];
    for (int64_t at = 0; at < VECTORS_WIDE; at++) bits[at] = _mm512_loadu_si512(panel + at * 16 * Type::INPUTS);
    for (int64_t row = 0; row < COUNT; row++) {
      const auto factor = Type::factor(rows + row * pitch + input);
      for (int64_t at = 0; at < VECTORS_WIDE; at++) sum[row][at] = Type::add(sum[row][at], bits[at], factor);
    }
  }
  for (int64_t row = 0; row < COUNT; row++) {
    for (int64_t at = 0; at < VECTORS_WIDE; at++) {
      float* to = sums + row * WIDTH + at * 16;
      _mm512_storeu_ps(to, first ? sum[row][at] : _mm512_add_ps(_mm512_loadu_ps(to), sum[row][at]));
    }
  }
}

template <typename Type>
using Add = void (*)(const typename Type::Bits*, int64_t, const typename Type::Bits*, int64_t, int64_t, bool, float*);

// By the number of rows, less one.
template <typename Type>
constexpr Add<Type> ADD[ROWS] = {add<Type, 1>, add<Type, 2>, add<Type, 3>, add<Type, 4>, add<Type, 5>, add<Type, 6>};

// As many panels as are worth a thread of their own.
int64_t share(int64_t work) { return std::max<int64_t>(1, at::internal::GRAIN_SIZE / std::max<int64_t>(1, work)); }

template <typename Type, typename Number>
void multiply(const at::Tensor& input, const Panels& panels, const at::Tensor& bias, at::Tensor& output) {
  using Bits = typename Type::Bits;
  const int64_t count = input.size(0), inputs = input.size(1), outputs = output.size(1);
  const auto* data = static_cast<const Bits*>(panels.data);
  const auto* rows = static_cast<const Bits*>(input.const_data_ptr());
  const float* added = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  auto* products = output.mutable_data_ptr<Number>();
  at::parallel_for(0, (outputs + WIDTH - 1) / WIDTH, share(inputs * WIDTH), [&](int64_t begin, int64_t end) {
    std::vector<float> sums(count * WIDTH);
    for (int64_t panel = begin; panel < end; panel++) {
      for (int64_t from = 0; from < inputs; from += panels.stretch) {
        const Bits* part = data + panel * panels.stride + from / Type::INPUTS * panels.step;
        for (int64_t row = 0; row < count; row += ROWS) {
          ADD<Type>[std::min(ROWS, count - row) - 1](part, panels.step, rows + row * inputs + from, inputs,
                                                     std::min(panels.stretch, inputs - from), from == 0,
                                                     sums.data() + row * WIDTH);
        }
      }
      const int64_t first = panel * WIDTH, wide = std::min(WIDTH, outputs - first);
      for (int64_t row = 0; row < count; row++) {
        const float* sum = sums.data() + row * WIDTH;
        Number* to = products + row * outputs + first;
        for (int64_t at = 0; at < wide; at++) to[at] = added == nullptr ? sum[at] : sum[at] + added[first + at];
      }
    }
  });
}

// Whether a packed matrix lies in panels of this step and stride: every number is looked at.
template <typename Type>
bool lies(const at::Tensor& dense, const Panels& panels) {
  using Bits = typename Type::Bits;
  const int64_t outputs = dense.size(0), inputs = dense.size(1);
  const auto* packed = static_cast<const Bits*>(panels.data);
  const auto* numbers = static_cast<const Bits*>(dense.const_data_ptr());
  std::atomic<bool> equal{true};
  at::parallel_for(0, outputs, share(inputs), [&](int64_t begin, int64_t end) {
    for (int64_t output = begin; output < end && equal; output++) {
      const Bits* column = packed + output / WIDTH * panels.stride + output % WIDTH * Type::INPUTS;
      const Bits* row = numbers + output * inputs;
      for (int64_t input = 0; input < inputs; input++) {
        if (row[input] != column[input / Type::INPUTS * panels.step + input % Type::INPUTS]) equal = false;
      }
    }
  });
  return equal;
}

template <typename Type>
bool find(const at::Tensor& dense, const void* data, int64_t bytes, Panels& found) {
  const int64_t outputs = dense.size(0), inputs = dense.size(1);
  if (inputs % Type::INPUTS != 0) return false;
  const int64_t held = bytes / static_cast<int64_t>(sizeof(typename Type::Bits));
  const int64_t whole = (outputs + WIDTH - 1) / WIDTH * WIDTH;
  const auto in = [&](int64_t step, int64_t stride) {
    found = {data, outputs, step, stride, inputs};
    return lies<Type>(dense, found);
  };
  // One panel behind the other, as large matrices lie; or beside each other, as small ones do.
  return held == whole * inputs && (in(WIDTH * Type::INPUTS, WIDTH * inputs) ||
                                    (whole == outputs && in(outputs * Type::INPUTS, WIDTH * Type::INPUTS)));
}

}  // namespace
#endif

namespace {

int64_t ask(const char* name, const at::Tensor& packed) {
  torch::jit::Stack stack{packed};
  c10::Dispatcher::singleton().findSchemaOrThrow(name, "").callBoxed(stack);
  return stack.at(0).toInt();
}

}  // namespace

extern "C" {

// Says where a packed tensor lies, and how many bytes it has there.
const void* vt_packed_bytes(const void* packed, int64_t* bytes, Error* error) {
  const void* data = nullptr;
  guarded(error, [&] {
    const at::Tensor& matrix = tensor_of(packed);
    *bytes = ask("mkldnn::_nbytes", matrix);
    data = reinterpret_cast<const void*>(ask("mkldnn::data_ptr", matrix));
  });
  return data;
}

// Finds out whether a packed matrix lies in panels, being told what it holds.
bool vt_find_panels(const void* packed, const void* dense, Panels* found, Error* error) {
  bool lies = false;
  guarded(error, [&] {
#ifdef __x86_64__
    const at::Tensor &matrix = tensor_of(packed), &numbers = tensor_of(dense);
    if (!__builtin_cpu_supports("avx512bw")) return;
    const auto* data = reinterpret_cast<const void*>(ask("mkldnn::data_ptr", matrix));
    const int64_t bytes = ask("mkldnn::_nbytes", matrix);
    lies = numbers.scalar_type() == at::kFloat ? find<Float>(numbers, data, bytes, *found)
                                               : find<Pairs>(numbers, data, bytes, *found);
#endif
  });
  return lies;
}

// x · wᵀ + b for `[rows, in]`, w being in panels. It records no gradients.
void* vt_multiply_panels(const void* input, const Panels* panels, const void* bias, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
#ifdef __x86_64__
    at::AutoGradMode mode(false);
    const at::Tensor& rows = tensor_of(input);
    const int64_t outputs = panels->outputs;
    const at::Tensor added = bias == nullptr ? at::Tensor() : tensor_of(bias).to(at::kFloat).contiguous();
    TORCH_CHECK(!added.defined() || added.numel() == outputs, "a bias of ", added.numel(), " for ", outputs, " outputs");
    at::Tensor output = at::empty({rows.size(0), outputs}, rows.options());
    if (rows.scalar_type() == at::kFloat) {
      multiply<Float, float>(rows, *panels, added, output);
    } else if (__builtin_cpu_supports("avx512bf16")) {
      multiply<DotPairs, at::BFloat16>(rows, *panels, added, output);
    } else {
      multiply<WidenedPairs, at::BFloat16>(rows, *panels, added, output);
    }
    made = new at::Tensor(output);
#endif
  });
  return made;
}
}

// The C face of libtorch's dispatcher. Nothing here throws: every function that can fail fills an `Error`
// and answers false. `Tensor*` is `at::Tensor*`, as in tch; the receiver of an out-pointer owns what it points at.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {

enum Tag : int32_t {
  TAG_DEFAULT = 0,        // the schema's own default
  TAG_NONE = 1,
  TAG_TENSOR = 2,         // data: Tensor*
  TAG_INT = 3,            // integer
  TAG_FLOAT = 4,          // real
  TAG_BOOL = 5,           // integer
  TAG_COMPLEX = 6,        // real, imaginary
  TAG_STRING = 7,         // data: bytes, length
  TAG_INTS = 8,           // data: int64_t*, length
  TAG_FLOATS = 9,         // data: double*, length
  TAG_BOOLS = 10,         // data: int64_t*, length
  TAG_TENSORS = 11,       // data: Tensor**, length
  TAG_OPTIONAL_TENSORS = 12,  // the same, null for None
  TAG_WRAPPED = 13,       // a Python number as a 0-dim tensor that does not take part in dtype promotion; kind: Tag
  TAG_DEVICE = 14,        // kind: DeviceType, integer: index or -1
  TAG_GENERATOR = 15,     // data: Generator*
  TAG_ELLIPSIS = 16,      // indices only
  TAG_SLICE = 17,         // indices only; data: int64_t[3], kind: which are given, as bits
  TAG_UNSIGNED = 18,      // integer, as 64 bits without a sign; wrapped only
};

struct Datum {
  int32_t tag;
  int32_t kind;
  int64_t integer;
  double real;
  double imaginary;
  const void* data;
  size_t length;
};

enum ErrorKind : int32_t {
  ERROR_RUNTIME = 0,
  ERROR_INDEX = 1,
  ERROR_VALUE = 2,
  ERROR_TYPE = 3,
  ERROR_NOT_IMPLEMENTED = 4,
  ERROR_LINALG = 5,
  ERROR_MEMORY = 6,
};

struct Error {
  int32_t kind;
  char* text;  // null without an error; freed by vt_free
};

struct Facts {
  int32_t dtype;
  int32_t device_type;
  int32_t device_index;
  int32_t layout;
  int64_t dimensions;
  int64_t elements;
  int64_t element_size;
  int64_t storage_offset;
  const void* storage;
  uint8_t requires_grad;
  uint8_t is_leaf;
  uint8_t is_contiguous;
  uint8_t is_conj;
};

// How a matrix lies in panels of 64 outputs. The step and the stride, in numbers: from one input (for types of half the size:
// from two) to the next, and from one panel to the next. The stretch: how many inputs are added up by themselves.
struct Panels {
  const void* data;
  int64_t outputs;
  int64_t step;
  int64_t stride;
  int64_t stretch;
};

// What an operator is called under: whether gradients are recorded, and the types that autocast computes in, or NO_CAST.
struct Mode {
  bool gradients;
  int8_t cpu_cast;
  int8_t gpu_cast;
};
enum : int8_t { NO_CAST = -1 };

// What becomes of a wish for memory.
enum Reserved : int32_t {
  RESERVED_NO = 0,
  RESERVED_YES = 1,
  RESERVED_UNPAID = 2,  // refused, but the operation is others' too and goes on
};

// Asks the job's account for bytes before they are allocated.
typedef Reserved (*Reserve)(void* account, size_t bytes);
// Tells that bytes were freed, on whichever thread. Called once per granted reservation.
typedef void (*Release)(void* account, size_t bytes);
// Receives a gradient (borrowed), and fills `replaced` with an owned one to go on with.
typedef void (*GradientHook)(void* context, const void* gradient, void** replaced);
typedef void (*Drop)(void* context);
// Fills `results` with new tensors, the gradients of what was multiplied, for as many products of one moment by one weight;
// null for those whose own gradient is null. False where they cannot be computed.
typedef bool (*Product)(const void* const* contexts, const void* const* gradients, size_t count, bool recorded,
                        void** results);
// Fills `results` with new tensors, the gradients of what a function was given, from those of what it returned; null stands
// for none. False where they cannot be computed.
typedef bool (*Differentiate)(const void* context, const void* const* gradients, size_t count, void** results, size_t wanted);
// Has this thread's allocations paid by one of those who walk together.
typedef void (*Pays)(size_t owner);

void vt_free(void* memory);
}

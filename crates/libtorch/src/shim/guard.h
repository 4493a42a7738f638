// What every part of the shim is written with.
#pragma once
#include "shim.h"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace {

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

// Runs the body, and leaves it where it throws: what it has not written stays as it was.
template <typename Body>
void quietly(Body body) {
  try {
    body();
  } catch (...) {
  }
}

const at::Tensor& tensor_of(const void* tensor) { return *static_cast<const at::Tensor*>(tensor); }

void* owned(const at::Tensor& tensor) { return tensor.defined() ? new at::Tensor(tensor) : nullptr; }

}  // namespace

// Who pays for memory, and what is told when it is freed: nothing where nobody pays.
struct Account {
  void* account = nullptr;
  Reserve reserve = nullptr;
  Release release = nullptr;
};

// Asks the thread's payer for bytes, which whoever gets the account gives back one day, on whichever thread. Throws where
// they are refused.
Account pay_for(size_t bytes);

// Has the thread's payer pay for each node that a tensor's gradient goes through and that nobody pays for yet.
void pay_for_graph(const at::Tensor& tensor);

// Counts what devices give out, too, from now on.
void count_device_memory();

// While this lives, what its thread allocates is to stay.
struct Lasting {
  Lasting();
  ~Lasting();
};

// Devices, what is brought in at run time for them, and random numbers.
#include "guard.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <cstdlib>
#include <memory>
#include <unordered_map>

namespace {

c10::impl::VirtualGuardImpl gpus() { return c10::impl::VirtualGuardImpl(c10::kCUDA); }

c10::Device gpu(int32_t index) { return {c10::kCUDA, static_cast<c10::DeviceIndex>(index)}; }

}  // namespace

extern "C" {

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

// Another handle on the same generator.
void* vt_generator_handle(const void* generator) {
  return new (std::nothrow) at::Generator(*static_cast<const at::Generator*>(generator));
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
    // libtorch gives cuBLAS a workspace of a fixed size for each stream, so that it does not choose among several, and
    // by that among kernels, by what runs beside it. Where this says which size, it is parsed anew for each product,
    // which takes longer than to launch one.
    unsetenv("CUBLAS_WORKSPACE_CONFIG");
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
    count_device_memory();
  });
}

// Waits for a device. Fails where it is lost: nothing that this process asks of it will succeed again.
bool vt_synchronize(int32_t index, Error* error) {
  return guarded(error, [&] { at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(index)); });
}

// How many bytes of a device are free, of how many.
bool vt_device_memory(int32_t index, uint64_t* free, uint64_t* all, Error* error) {
  return guarded(error, [&] {
    auto [unused, total] = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getMemoryInfo(static_cast<c10::DeviceIndex>(index));
    *free = unused;
    *all = total;
  });
}

// Gives back to the system, and to the devices where there are any, what is kept of memory that nobody uses.
void vt_release_memory(bool devices) {
  try {
    if (devices) c10::getDeviceAllocator(c10::DeviceType::CUDA)->emptyCache();
  } catch (...) {
    // What cannot be given back is used again.
  }
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// CUDA's name for the stream on which this thread computes on a device.
bool vt_stream(int32_t index, void** handle, Error* error) {
  return guarded(error, [&] { *handle = gpus().getStreamNativeHandle(gpus().getStream(gpu(index))); });
}

// Makes a device the thread's own, and tells which was.
bool vt_exchange_device(int32_t index, int32_t* before, Error* error) {
  return guarded(error, [&] { *before = gpus().exchangeDevice(gpu(index)).index(); });
}

// A mark behind all that this thread has given a device to do.
void* vt_mark(int32_t index, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
    auto event = std::make_unique<c10::Event>(c10::kCUDA);
    event->record(gpus().getStream(gpu(index)));
    made = event.release();
  });
  return made;
}

// Whether a device has come to a mark.
bool vt_mark_reached(const void* mark, bool* reached, Error* error) {
  return guarded(error, [&] { *reached = static_cast<const c10::Event*>(mark)->query(); });
}

void vt_mark_free(void* mark) { delete static_cast<c10::Event*>(mark); }

// Copies a tensor of the host's to a device beside what this thread computes there, and tells by a mark when it is there. Only
// what waits for the mark may use it, and what gives its memory back has to be behind the mark, too.
void* vt_upload(const void* host, int32_t index, void** mark, Error* error) {
  void* made = nullptr;
  guarded(error, [&] {
    const at::Tensor& from = tensor_of(host);
    c10::Device device = gpu(index);
    c10::Stream here = gpus().getStream(device);
    // Who had the memory before is done with it when this stream comes here.
    at::Tensor to = at::empty(from.sizes(), from.options().device(device).pinned_memory(false));
    c10::Event free(c10::kCUDA);
    free.record(here);
    static thread_local std::unordered_map<int32_t, c10::Stream> beside;
    auto known = beside.find(index);
    if (known == beside.end()) known = beside.emplace(index, gpus().getStreamFromGlobalPool(device)).first;
    c10::Stream side = known->second;
    free.block(side);
    auto copied = std::make_unique<c10::Event>(c10::kCUDA);
    gpus().exchangeStream(side);
    try {
      to.copy_(from, /*non_blocking=*/true);
      copied->record(side);
    } catch (...) {
      gpus().exchangeStream(here);
      throw;
    }
    gpus().exchangeStream(here);
    *mark = copied.release();
    made = owned(to);
  });
  return made;
}

// Has what this thread computes on a device from now on come behind a mark.
bool vt_wait_for_mark(const void* mark, int32_t index, Error* error) {
  return guarded(error, [&] { static_cast<const c10::Event*>(mark)->block(gpus().getStream(gpu(index))); });
}
}

// Who pays for the memory of tensors.
#include "guard.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/profiler/orchestration/observer.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

namespace {

thread_local Account current_account;

// What stands before each block of memory. One cache line, so that the block keeps libtorch's alignment.
struct alignas(64) Header {
  size_t bytes;
  Account account;
  // Of the mapping that the block has to itself, if it has one.
  size_t mapped;
  // It is for what is soon to go.
  bool passing;
};
static_assert(sizeof(Header) == 64);

c10::Allocator* inner_allocator = nullptr;

// Whether this thread allocates what is to stay, or what is soon to go.
thread_local bool lasting = false;
thread_local bool passing = false;

// A mapping of something that is gone, kept for what is soon to go after it: one matrix after another is read, packed and gone,
// and the system would clear the pages for each.
std::atomic<Header*> spare{nullptr};

constexpr size_t HUGE_PAGE = 2 << 20;

// Maps a block of what is to stay, in huge pages where the system has them for who asks: weights are read from end to end,
// and to look up each page of 4 KiB takes an eighth of a decode step. Null where there is no such mapping.
Header* map_huge(size_t bytes) {
#ifdef MADV_HUGEPAGE
  // What is left of the last page, if it is less than half of one, has small ones.
  static const size_t small = sysconf(_SC_PAGESIZE);
  size_t step = bytes % HUGE_PAGE < HUGE_PAGE / 2 ? small : HUGE_PAGE;
  size_t size = (bytes + step - 1) / step * step;
  void* all = mmap(nullptr, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  auto from = reinterpret_cast<uintptr_t>(all);
  size_t before = (HUGE_PAGE - from % HUGE_PAGE) % HUGE_PAGE;
  auto* start = static_cast<char*>(all) + before;
  if (before != 0) munmap(all, before);
  munmap(start + size, HUGE_PAGE - before);
  madvise(start, size, MADV_HUGEPAGE);
  return new (start) Header{0, {}, size, false};
#else
  return nullptr;
#endif
}

void unmap(Header* header) {
  if (header != nullptr) munmap(header, header->mapped);
}

// Takes the mapping that is kept, if so much finds room there, or a new one.
Header* map_passing(size_t bytes) {
  auto* header = spare.exchange(nullptr);
  if (header == nullptr || header->mapped < bytes) {
    unmap(header);
    header = map_huge(bytes);
  }
  if (header != nullptr) header->passing = true;
  return header;
}

Header* take(size_t bytes, Account account) {
  Header* header = nullptr;
  if (bytes >= HUGE_PAGE && (lasting || passing)) {
    header = passing ? map_passing(sizeof(Header) + bytes) : map_huge(sizeof(Header) + bytes);
  }
  if (header == nullptr) header = new (inner_allocator->raw_allocate(sizeof(Header) + bytes)) Header{};
  header->bytes = bytes;
  header->account = account;
  return header;
}

void release_block(void* data) {
  if (data == nullptr) return;
  auto* header = static_cast<Header*>(data) - 1;
  auto [bytes, account, mapped, passed] = *header;
  if (passed) {
    unmap(spare.exchange(header));
  } else if (mapped != 0) {
    munmap(header, mapped);
  } else {
    inner_allocator->raw_deallocate(header);
  }
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
    Account account = pay_for(bytes);
    try {
      void* data = take(bytes, account) + 1;
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
    if (bytes > 0 && account.reserve != nullptr && account.reserve(account.account, bytes) == RESERVED_YES) {
      blocks.emplace(block, std::make_pair(static_cast<size_t>(bytes), account));
    }
  }

  // A job that asks for more than it may have is told so, and not that the device is full.
  void reportOutOfMemory(int64_t bytes, size_t, size_t, c10::Device) override {
    Account account = current_account;
    if (account.reserve != nullptr && account.reserve(account.account, bytes) == RESERVED_YES) {
      account.release(account.account, bytes);
    }
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

}  // namespace

void count_device_memory() { has_devices = true; }

Account pay_for(size_t bytes) {
  Account account = current_account;
  if (account.reserve == nullptr) return {};
  const Reserved reserved = account.reserve(account.account, bytes);
  TORCH_CHECK_WITH(OutOfMemoryError, reserved != RESERVED_NO, "tensor memory of this job is used up");
  return reserved == RESERVED_UNPAID ? Account{} : account;
}

Lasting::Lasting() { lasting = true; }
Lasting::~Lasting() { lasting = false; }

extern "C" {

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

// Says whether what this thread allocates from now on is soon to go, or else to stay.
void vt_set_passing(bool set) { passing = set; }
void vt_set_lasting(bool set) { lasting = set; }

// Gives back what is kept of such memory.
void vt_drop_spare() { unmap(spare.exchange(nullptr)); }

// Names the account that pays for this thread's allocations; nulls for none.
void vt_set_account(void* account, Reserve reserve, Release release) {
  listen_to_devices();
  current_account = {account, reserve, release};
}
}

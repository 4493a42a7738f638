// A stand-in for `libnccl.so.2` on machines without a GPU, for tests only: what Vitrine uses of it, between processes and
// between threads, by memory that they share.
//
// What it shows of the real one:
// - Communicators that do not block: what is asked for is under way until `ncclCommGetAsyncError` says that it is done, and
//   whoever asks for more before has made an error.
// - What is sent is not there before it was received, all ranks have to come, and who does not is waited for without an end,
//   until the communicator is aborted.
// - Memory is a device's: that of the stand-in for CUDA, if it is loaded.
//
// What it cannot show: streams, since the stand-in for CUDA has none, and what real links do.
//
// `MOCK_NCCL=WHAT@RANK:COUNT` disturbs what a rank asks for as the COUNT-th thing: `hang` is never done, `stuck` does not even
// // return, `fail` is found out when it is over, `late` some time after, and with `refuse` no communicator is made at all.
// `mock_nccl` says the same for the next communicator of its thread.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

namespace {

enum Result { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, REMOTE_ERROR = 6, IN_PROGRESS = 7 };

constexpr int RANKS = 8;
constexpr uint64_t CAPACITY = 1 << 20;

struct UniqueId {
  char name[128];
};

// The form that the library has had since 2.18.
struct Config {
  size_t size;
  unsigned magic, version;
  int blocking, cga, min_ctas, max_ctas;
  const char* net;
  int split;
};

// Bytes from one rank to another.
struct Ring {
  std::atomic<uint64_t> written, read;
  char bytes[CAPACITY];
};

struct Shared {
  std::atomic<int> joined;
  Ring rings[RANKS][RANKS];
};

// What is to go wrong.
struct Disturbance {
  std::string what;
  int rank = -1;
  long count = 0;

  static Disturbance read(const char* text) {
    Disturbance made;
    char what[16];
    if (text != nullptr && std::sscanf(text, "%15[a-z]@%d:%ld", what, &made.rank, &made.count) >= 2) made.what = what;
    return made;
  }
};

thread_local std::string told;
thread_local std::string last;

void* contents(const void* at) {
  static auto* known = reinterpret_cast<void* (*)(const void*)>(dlsym(RTLD_DEFAULT, "mock_contents"));
  return known == nullptr ? const_cast<void*>(at) : known(at);
}

struct Communicator {
  Shared* shared = nullptr;
  int ranks, rank;
  std::string name;
  Disturbance disturbance;
  long asked = 0;
  std::atomic<int> state{SUCCESS};
  std::atomic<bool> aborted{false};
  std::thread worker;

  // Has something done beside the caller.
  int begin(std::function<int()> task) {
    if (state == IN_PROGRESS) {
      last = "something is under way already";
      return INVALID_USAGE;
    }
    if (state != SUCCESS) return state;
    if (worker.joinable()) worker.join();
    bool disturbed = rank == disturbance.rank && asked++ == disturbance.count;
    if (disturbed && disturbance.what == "stuck") {
      while (!aborted) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return SYSTEM_ERROR;
    }
    state = IN_PROGRESS;
    worker = std::thread([this, disturbed, task] {
      if (disturbed && disturbance.what == "hang") {
        while (!aborted) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return;
      }
      int done = task();
      if (disturbed && disturbance.what == "fail") done = REMOTE_ERROR;
      if (!aborted) state = done;
      if (disturbed && disturbance.what == "late") {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        state = REMOTE_ERROR;
      }
    });
    return IN_PROGRESS;
  }

  bool wait(const std::function<bool()>& until) {
    for (int turns = 0; !until(); turns++) {
      if (aborted) return false;
      if (turns > 100) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }

  int put(int to, const char* from, uint64_t bytes) {
    Ring& ring = shared->rings[rank][to];
    for (uint64_t done = 0; done < bytes;) {
      uint64_t written = ring.written;
      if (!wait([&] { return written - ring.read < CAPACITY; })) return SYSTEM_ERROR;
      uint64_t at = written % CAPACITY;
      uint64_t now = std::min({bytes - done, CAPACITY - (written - ring.read), CAPACITY - at});
      std::memcpy(ring.bytes + at, from + done, now);
      ring.written = written + now;
      done += now;
    }
    return SUCCESS;
  }

  int take(int from, char* to, uint64_t bytes) {
    Ring& ring = shared->rings[from][rank];
    for (uint64_t done = 0; done < bytes;) {
      uint64_t read = ring.read;
      if (!wait([&] { return ring.written > read; })) return SYSTEM_ERROR;
      uint64_t at = read % CAPACITY;
      uint64_t now = std::min({bytes - done, ring.written - read, CAPACITY - at});
      std::memcpy(to + done, ring.bytes + at, now);
      ring.read = read + now;
      done += now;
    }
    return SUCCESS;
  }

  int join(const std::string& name) {
    int file = shm_open(name.c_str(), O_RDWR, 0600);
    if (file < 0) return SYSTEM_ERROR;
    void* at = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at == MAP_FAILED) return SYSTEM_ERROR;
    shared = static_cast<Shared*>(at);
    // Whoever comes last takes the name away: the memory stays for those who have it.
    if (shared->joined.fetch_add(1) + 1 == ranks) shm_unlink(name.c_str());
    return wait([&] { return shared->joined == ranks; }) ? SUCCESS : SYSTEM_ERROR;
  }
};

Communicator* of(void* handle) { return static_cast<Communicator*>(handle); }

}  // namespace

extern "C" {

// Says what is to happen to the next communicator of this thread.
void mock_nccl(const char* disturbance) { told = disturbance; }

int ncclGetVersion(int* version) {
  *version = 22809;
  return SUCCESS;
}

int ncclGetUniqueId(UniqueId* id) {
  static std::atomic<int> made{0};
  std::memset(id, 0, sizeof(UniqueId));
  std::snprintf(id->name, sizeof(id->name), "/vitrine-nccl-%d-%d", int(getpid()), made++);
  int file = shm_open(id->name, O_RDWR | O_CREAT | O_EXCL, 0600);
  bool there = file >= 0 && ftruncate(file, sizeof(Shared)) == 0;
  if (file >= 0) close(file);
  return there ? SUCCESS : SYSTEM_ERROR;
}

int ncclCommInitRankConfig(void** handle, int ranks, UniqueId id, int rank, Config* config) {
  if (config == nullptr || config->magic != 0xcafebeef || config->blocking != 0 || config->split != INT_MIN || ranks < 1 ||
      ranks > RANKS || rank < 0 || rank >= ranks) {
    last = "the arguments of ncclCommInitRankConfig";
    return INVALID_ARGUMENT;
  }
  auto disturbance = Disturbance::read(told.empty() ? std::getenv("MOCK_NCCL") : told.c_str());
  told.clear();
  if (disturbance.what == "refuse" && disturbance.rank == rank) {
    shm_unlink(id.name);
    last = "this rank has no way to the others";
    return SYSTEM_ERROR;
  }
  auto* made = new Communicator();
  made->ranks = ranks;
  made->rank = rank;
  made->disturbance = disturbance;
  made->asked = -1;
  made->name = id.name;
  *handle = made;
  return made->begin([made] { return made->join(made->name); });
}

int ncclCommGetAsyncError(void* handle, int* state) {
  *state = of(handle)->state;
  if (*state == REMOTE_ERROR) last = "the rank at the other end has closed its connection";
  return SUCCESS;
}

int ncclCommAbort(void* handle) {
  auto* communicator = of(handle);
  communicator->aborted = true;
  if (communicator->worker.joinable()) communicator->worker.join();
  if (communicator->shared != nullptr) munmap(communicator->shared, sizeof(Shared));
  // A name that not all have come to is not left behind.
  if (communicator->rank == 0) shm_unlink(communicator->name.c_str());
  delete communicator;
  return SUCCESS;
}

int ncclBroadcast(const void* from, void* to, size_t bytes, int type, int root, void* handle, void*) {
  auto* communicator = of(handle);
  if (type != 1 || root != 0) return INVALID_ARGUMENT;
  return communicator->begin([=]() -> int {
    if (communicator->rank != root) return communicator->take(root, static_cast<char*>(contents(to)), bytes);
    for (int rank = 1; rank < communicator->ranks; rank++) {
      int done = communicator->put(rank, static_cast<const char*>(contents(from)), bytes);
      if (done != SUCCESS) return done;
    }
    return SUCCESS;
  });
}

int ncclSend(const void* from, size_t bytes, int type, int peer, void* handle, void*) {
  auto* communicator = of(handle);
  if (type != 1 || peer < 0 || peer >= communicator->ranks) return INVALID_ARGUMENT;
  return communicator->begin([=] { return communicator->put(peer, static_cast<const char*>(contents(from)), bytes); });
}

int ncclRecv(void* to, size_t bytes, int type, int peer, void* handle, void*) {
  auto* communicator = of(handle);
  if (type != 1 || peer < 0 || peer >= communicator->ranks) return INVALID_ARGUMENT;
  return communicator->begin([=] { return communicator->take(peer, static_cast<char*>(contents(to)), bytes); });
}

const char* ncclGetErrorString(int result) {
  switch (result) {
    case SUCCESS: return "no error";
    case SYSTEM_ERROR: return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case INVALID_ARGUMENT: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case INVALID_USAGE: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case REMOTE_ERROR: return "remote process exited or there was a network error";
    case IN_PROGRESS: return "NCCL operation in progress";
    default: return "unknown result code";
  }
}

const char* ncclGetLastError(void*) { return last.c_str(); }
}

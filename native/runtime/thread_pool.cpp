// Threads that share out numbered tasks; the caller works too. Idle threads spin briefly, then sleep.
#include "thread_pool.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "memory.h"

namespace cambium {
namespace {

// About 20 us: longer than the gap between two steps of a program, shorter than anyone's patience with a busy core.
constexpr int kSpins = 1000;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace

struct ThreadPool::State {
  int threads = 1;
  std::vector<std::thread> workers;
  std::vector<std::unique_ptr<Arena>> scratch;
  Arena shared;
  std::atomic<size_t> scratch_bytes{0};

  // The job in progress. A worker counts itself inside before it looks at `open`; the caller closes, then waits
  // for the count to fall: so nobody waits for a worker that sleeps through a short job.
  const TaskRef* body = nullptr;
  int64_t tasks = 0;
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<bool> open{false};
  std::atomic<int> inside{0};
  alignas(64) std::atomic<uint32_t> generation{0};
  std::atomic<bool> stopping{false};

  std::mutex failure_mutex;
  int64_t failed_task = 0;
  std::exception_ptr failure;

  explicit State(int count) { set_threads(count); }

  void set_threads(int count) {
    threads = count;
    while (static_cast<int>(scratch.size()) < threads) scratch.push_back(std::make_unique<Arena>());
  }

  void start() {
    stopping = false;
    try {
      for (int i = 1; i < threads; ++i) workers.emplace_back([this, i] { worker(i); });
    } catch (const std::system_error&) {
      // The system gives no more threads: go on with those there are.
      threads = static_cast<int>(workers.size()) + 1;
    }
  }

  void stop() noexcept {
    stopping = true;
    generation.fetch_add(1);
    generation.notify_all();
    for (auto& thread : workers) thread.join();
    workers.clear();
  }

  void work(int thread) noexcept {
    for (;;) {
      const int64_t task = next.fetch_add(1, std::memory_order_relaxed);
      if (task >= tasks) return;
      try {
        (*body)(task, thread);
      } catch (...) {
        // The other tasks still run: only then is the lowest failure the same every time.
        std::lock_guard lock(failure_mutex);
        if (!failure || task < failed_task) {
          failure = std::current_exception();
          failed_task = task;
        }
      }
    }
  }

  void worker(int thread) noexcept {
    uint32_t seen = 0;
    for (;;) {
      for (int spins = 0; generation.load(std::memory_order_acquire) == seen; ++spins) {
        if (spins < kSpins) pause();
        else generation.wait(seen);
      }
      seen = generation.load(std::memory_order_acquire);
      if (stopping) return;
      inside.fetch_add(1);
      if (open.load()) work(thread);
      if (inside.fetch_sub(1) == 1) inside.notify_all();
    }
  }

  void run(int64_t count, const TaskRef& task_body) {
    if (static_cast<int>(workers.size()) + 1 != threads) start();
    body = &task_body;
    tasks = count;
    next.store(0, std::memory_order_relaxed);
    failure = nullptr;
    if (count > 1 && threads > 1) {
      open.store(true);
      generation.fetch_add(1);
      generation.notify_all();
      work(0);
      open.store(false);
      for (int spins = 0;; ++spins) {
        const int still_inside = inside.load();
        if (still_inside == 0) break;
        if (spins < kSpins) pause();
        else inside.wait(still_inside);
      }
    } else {
      work(0);
    }
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
  }

  float* grow(Arena& arena, size_t bytes) {
    const size_t before = arena.bytes();
    auto* memory = reinterpret_cast<float*>(arena.reserve(bytes ? bytes : 1));
    scratch_bytes += arena.bytes() - before;
    return memory;
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>(threads)) {}

ThreadPool::~ThreadPool() { state_->stop(); }

void ThreadPool::resize(int threads) {
  if (threads == state_->threads) return;
  state_->stop();
  state_->set_threads(threads);
}

void ThreadPool::run(int64_t tasks, TaskRef body) const {
  if (tasks > 0) state_->run(tasks, body);
}

int ThreadPool::threads() const { return state_->threads; }

float* ThreadPool::scratch(int thread, size_t bytes) const {
  return state_->grow(*state_->scratch[static_cast<size_t>(thread)], bytes);
}

float* ThreadPool::shared_scratch(size_t bytes) const { return state_->grow(state_->shared, bytes); }

size_t ThreadPool::scratch_bytes() const { return state_->scratch_bytes; }

}  // namespace cambium

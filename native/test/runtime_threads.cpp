// The thread pool and the runner under load: every task once, the lowest failure, short and empty jobs, resizing, order.
// Written to be run under ThreadSanitizer as well (scripts/test-native.mjs --tsan).
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "../runtime/runner.h"
#include "../runtime/thread_pool.h"

using namespace cambium;

namespace {

int passed = 0, failed = 0;

void expect(bool ok, const std::string& what) {
  ok ? ++passed : ++failed;
  if (!ok) std::printf("FAILED %s\n", what.c_str());
}

/** Plain, not atomic, counters: a task run twice, or a job not waited for, is a race. */
void every_task_once(ThreadPool& pool, int64_t tasks, int rounds) {
  std::vector<int> counts(static_cast<size_t>(tasks));
  for (int r = 0; r < rounds; ++r)
    pool.run(tasks, [&](int64_t task, int) { ++counts[static_cast<size_t>(task)]; });
  bool ok = true;
  for (int count : counts) ok = ok && count == rounds;
  expect(ok, "tasks " + std::to_string(tasks) + " on " + std::to_string(pool.threads()) + " threads");
}

/** What one job writes the next one reads, by other threads. */
void jobs_in_turn(ThreadPool& pool) {
  std::vector<int64_t> from(97, 1), to(97);
  for (int r = 0; r < 300; ++r) {
    pool.run(97, [&](int64_t i, int) { to[static_cast<size_t>(i)] = from[static_cast<size_t>((i * 31 + r) % 97)] + 1; });
    std::swap(from, to);
  }
  bool ok = true;
  for (int64_t value : from) ok = ok && value == 301;
  expect(ok, "each job sees all of the job before");
}

void scratch_of_each_thread(ThreadPool& pool) {
  float* shared = pool.shared_scratch(64 * sizeof(float));
  pool.run(64, [&](int64_t task, int thread) {
    const size_t count = 256 + static_cast<size_t>(task) * 64;
    float* mine = pool.scratch(thread, count * sizeof(float));
    for (size_t i = 0; i < count; ++i) mine[i] = static_cast<float>(task);
    float sum = 0;
    for (size_t i = 0; i < count; ++i) sum += mine[i];
    shared[task] = sum / static_cast<float>(count);
  });
  bool ok = pool.scratch_bytes() > 0;
  for (int task = 0; task < 64; ++task) ok = ok && shared[task] == static_cast<float>(task);
  expect(ok, "scratch belongs to one thread");
}

void lowest_failure(ThreadPool& pool) {
  for (int r = 0; r < 50; ++r) {
    std::atomic<int> ran{0};
    std::string message;
    try {
      pool.run(40, [&](int64_t task, int) {
        ++ran;
        if (task % 7 == 3) throw std::runtime_error(std::to_string(task));
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    if (message != "3" || ran != 40) return expect(false, "lowest failure, got " + message);
  }
  expect(true, "lowest failure");
}

struct Numbered final : Runner::Job {
  int number = 0;
  std::vector<int>* order = nullptr;
  std::mutex* mutex = nullptr;
  std::condition_variable* done = nullptr;
  int result = 0;
  void run() noexcept override { result = number * 2; }
  void finish() noexcept override {
    std::lock_guard lock(*mutex);
    order->push_back(result);
    done->notify_one();
  }
};

void jobs_in_order() {
  std::vector<int> order;
  std::mutex mutex;
  std::condition_variable done;
  std::vector<Numbered> jobs(200);
  Runner runner;
  for (size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].number = static_cast<int>(i);
    jobs[i].order = &order;
    jobs[i].mutex = &mutex;
    jobs[i].done = &done;
    runner.submit(&jobs[i]);
  }
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return order.size() == jobs.size(); });
  bool ok = true;
  for (size_t i = 0; i < order.size(); ++i) ok = ok && order[i] == static_cast<int>(i) * 2;
  expect(ok, "jobs run in the order they came");
}

/** Stopped with jobs waiting: those are dropped, none runs afterwards. */
void stopped_early() {
  for (int r = 0; r < 20; ++r) {
    std::vector<int> order;
    std::mutex mutex;
    std::condition_variable done;
    std::vector<Numbered> jobs(20);
    {
      Runner runner;
      for (Numbered& job : jobs) {
        job.order = &order;
        job.mutex = &mutex;
        job.done = &done;
        runner.submit(&job);
      }
    }
    if (order.size() > jobs.size()) return expect(false, "stopping");
  }
  expect(true, "stopping");
}

}  // namespace

int main() {
  ThreadPool pool(1);
  for (int threads : {1, 2, 3, 8, 2}) {
    pool.resize(threads);
    for (int64_t tasks : {0, 1, 2, 3, 17, 1000}) every_task_once(pool, tasks, tasks < 100 ? 500 : 20);
    jobs_in_turn(pool);
    scratch_of_each_thread(pool);
    lowest_failure(pool);
  }
  jobs_in_order();
  stopped_early();
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

// One thread that runs submitted jobs in order, off JavaScript's thread and out of libuv's pool.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace cambium {

class Runner {
 public:
  struct Job {
    virtual ~Job() = default;
    virtual void run() noexcept = 0;     // on the runner's thread
    virtual void finish() noexcept = 0;  // on the runner's thread, after run: hands the job to its owner
  };

  ~Runner() { stop(); }
  /** The job stays the caller's; it is not touched after finish(). Starts the thread on first use. */
  void submit(Job* job);
  /** Lets the running job end, drops the rest, joins. */
  void stop() noexcept;

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job*> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace cambium

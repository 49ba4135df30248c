// One thread that runs submitted jobs in order, off JavaScript's thread and out of libuv's pool.
#include "runner.h"

namespace cambium {

void Runner::submit(Job* job) {
  std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { loop(); });
  queue_.push_back(job);
  wake_.notify_one();
}

void Runner::stop() noexcept {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Runner::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    Job* job = queue_.front();
    queue_.pop_front();
    lock.unlock();
    job->run();
    job->finish();
    lock.lock();
  }
}

}  // namespace cambium

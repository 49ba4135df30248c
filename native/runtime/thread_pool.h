// Threads that share out numbered tasks; the caller works too. Idle threads spin briefly, then sleep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "parallel.h"

namespace cambium {

class ThreadPool final : public Parallel {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool() override;

  /** Ends the workers; they start again, in the new number, with the next run. Not during a run. */
  void resize(int threads);

  /** Of the tasks that throw, the exception of the lowest is rethrown, whatever the timing. */
  void run(int64_t tasks, TaskRef body) const override;
  int threads() const override;
  float* scratch(int thread, size_t bytes) const override;
  float* shared_scratch(size_t bytes) const override;
  size_t scratch_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cambium

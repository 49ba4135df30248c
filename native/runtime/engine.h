// The engine of one JavaScript environment: threads, arena, kernels for this processor; runs programs one at a time.
#pragma once

#include <atomic>
#include <string>

#include "kernel_table.h"
#include "memory.h"
#include "program.h"
#include "thread_pool.h"

namespace cambium {

struct Array {
  std::byte* data = nullptr;
  int64_t bytes = 0;
};

class Engine {
 public:
  Engine();

  /** Runs every step; returns -1, or the id of the check that stopped it. Throws Error. */
  int64_t run(Program& program, const std::vector<Array>& arrays);
  /** Any thread: makes a running program give up before its next step. */
  void cancel() { cancelled_ = true; }

  void set_threads(int threads) { wanted_threads_ = threads; }
  int threads() const;
  const std::string& isa() const { return isa_; }
  size_t arena_bytes() const { return arena_bytes_; }
  size_t scratch_bytes() const { return pool_.scratch_bytes() + vm_scratch_.bytes(); }
  std::atomic<bool> profiling{false};

 private:
  std::string isa_;
  const KernelTable* kernels_;
  ThreadPool pool_;
  Arena arena_, vm_scratch_;
  std::atomic<size_t> arena_bytes_{0};
  std::atomic<int> wanted_threads_{0};  // 0: the default
  std::atomic<bool> cancelled_{false};
};

/** CAMBIUM_THREADS, else the processors this process may use. */
int default_threads();

}  // namespace cambium

// A plain Parallel over std::thread for the kernel tests and benchmarks.
#pragma once

#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "../runtime/parallel.h"

namespace cambium {

class TestParallel : public Parallel {
 public:
  explicit TestParallel(int threads) : blocks_(static_cast<size_t>(threads) + 1) {}
  ~TestParallel() override {
    for (auto& block : blocks_) std::free(block.memory);
  }
  void run(int64_t n, TaskRef body) const override {
    std::atomic<int64_t> next{0};
    const auto work = [&](int thread) {
      for (int64_t t = next++; t < n; t = next++) body(t, thread);
    };
    std::vector<std::thread> team;
    for (int i = 1; i < threads() && i < n; ++i) team.emplace_back(work, i);
    work(0);
    for (auto& thread : team) thread.join();
  }
  int threads() const override { return static_cast<int>(blocks_.size()) - 1; }
  float* scratch(int thread, size_t bytes) const override { return grow(blocks_[static_cast<size_t>(thread)], bytes); }
  float* shared_scratch(size_t bytes) const override { return grow(blocks_.back(), bytes); }

 private:
  struct Block {
    void* memory = nullptr;
    size_t bytes = 0;
  };
  static float* grow(Block& block, size_t bytes) {
    if (bytes > block.bytes) {
      std::free(block.memory);
      block.bytes = (bytes + 63) / 64 * 64;
      block.memory = std::aligned_alloc(64, block.bytes);
      // Contents are undefined: make a kernel that reads them fail.
      for (size_t i = 0; i < block.bytes / 4; ++i) static_cast<uint32_t*>(block.memory)[i] = 0x7fc00000u;
    }
    return static_cast<float*>(block.memory);
  }
  mutable std::vector<Block> blocks_;
};

}  // namespace cambium

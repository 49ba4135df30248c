// Memory given out by allocate(), shared between its ArrayBuffer and the runs that use it.
// When an environment closes, Node frees external buffers before any hook of ours can stop a run in progress.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace cambium::binding {

/** What is allocated now; outlives the environment, since blocks may. */
struct Allocations {
  std::atomic<int64_t> bytes{0}, buffers{0};
};

struct Block {
  Block(size_t size, std::shared_ptr<Allocations> counts);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void* data;
  size_t bytes;
  std::shared_ptr<Allocations> allocations;

  static void remember(const std::shared_ptr<Block>& block);
  /** Lets go of the block that starts at `data`; returns its size. */
  static int64_t forget(const void* data);
  /** The block `address` lies in, or null when the memory is not ours. */
  static std::shared_ptr<Block> find(const void* address);
};

}  // namespace cambium::binding

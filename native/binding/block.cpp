// Memory given out by allocate(), shared between its ArrayBuffer and the runs that use it.
#include "block.h"

#include <map>
#include <mutex>
#include <utility>

#include "../runtime/memory.h"

namespace cambium::binding {
namespace {

struct Registry {
  std::mutex mutex;
  std::map<const std::byte*, std::shared_ptr<Block>> blocks;  // by first byte
};

// Never destroyed: finalisers of other threads may come after static destructors.
Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

}  // namespace

Block::Block(size_t size, std::shared_ptr<Allocations> counts)
    : data(allocate_zeroed(size)), bytes(size), allocations(std::move(counts)) {
  allocations->bytes += static_cast<int64_t>(bytes);
  allocations->buffers += 1;
}

Block::~Block() {
  release(data, bytes);
  allocations->bytes -= static_cast<int64_t>(bytes);
  allocations->buffers -= 1;
}

void Block::remember(const std::shared_ptr<Block>& block) {
  std::lock_guard lock(registry().mutex);
  registry().blocks[static_cast<const std::byte*>(block->data)] = block;
}

int64_t Block::forget(const void* data) {
  std::shared_ptr<Block> freed;  // released after the lock
  std::lock_guard lock(registry().mutex);
  const auto found = registry().blocks.find(static_cast<const std::byte*>(data));
  if (found == registry().blocks.end()) return 0;
  freed = std::move(found->second);
  registry().blocks.erase(found);
  return static_cast<int64_t>(freed->bytes);
}

std::shared_ptr<Block> Block::find(const void* address) {
  const auto* byte = static_cast<const std::byte*>(address);
  std::lock_guard lock(registry().mutex);
  auto after = registry().blocks.upper_bound(byte);
  if (after == registry().blocks.begin()) return nullptr;
  const auto& block = std::prev(after)->second;
  return byte < static_cast<const std::byte*>(block->data) + block->bytes ? block : nullptr;
}

}  // namespace cambium::binding

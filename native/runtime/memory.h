// Large memory: aligned, zero-filled, on huge pages where that pays; and the arena all programs share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cambium {

/** Zero-filled, 64-byte aligned (2 MiB for big blocks). Throws Error(OUT_OF_MEMORY). bytes > 0. */
void* allocate_zeroed(size_t bytes);
void release(void* memory, size_t bytes) noexcept;
bool huge_pages_available();

/** One block, replaced by a larger one when a program asks for more; contents do not survive growth. */
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();
  std::byte* reserve(size_t bytes);
  size_t bytes() const { return bytes_; }

 private:
  std::byte* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace cambium

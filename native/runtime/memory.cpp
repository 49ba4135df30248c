// Large memory: aligned, zero-filled, on huge pages where that pays; and the arena all programs share.
#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "error.h"

namespace cambium {
namespace {

constexpr size_t kHuge = size_t{2} << 20;
constexpr size_t kPage = 16384;  // the largest page of the systems we build for
// Below this a block comes from the heap: rounding up to 2 MiB pages would waste more than it gains.
constexpr size_t kMapped = size_t{1} << 20;

[[noreturn]] void out_of_memory(size_t bytes) {
  throw Error("OUT_OF_MEMORY", "cannot allocate " + std::to_string(bytes) + " bytes (" +
                                   std::to_string(bytes >> 20) + " MiB) of native memory");
}

// Linux grants more than it has and kills the process when it is touched: refuse what can never fit.
bool larger_than_machine(size_t bytes) {
  static const size_t physical =
      static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes > physical;
}

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

void* allocate_zeroed(size_t bytes) {
  if (bytes >= kMapped) {
    if (larger_than_machine(bytes)) out_of_memory(bytes);
    // Map 2 MiB too much and trim both ends, so that the block starts on a huge page.
    const size_t wanted = round_up(bytes, kPage);
    void* raw = mmap(nullptr, wanted + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) out_of_memory(bytes);
    auto start = reinterpret_cast<uintptr_t>(raw);
    const uintptr_t aligned = round_up(start, kHuge);
    if (aligned > start) munmap(raw, aligned - start);
    const uintptr_t end = aligned + wanted, raw_end = start + wanted + kHuge;
    if (raw_end > end) munmap(reinterpret_cast<void*>(end), raw_end - end);
#if defined(MADV_HUGEPAGE)
    madvise(reinterpret_cast<void*>(aligned), wanted, MADV_HUGEPAGE);
#endif
    return reinterpret_cast<void*>(aligned);
  }
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, round_up(bytes, 64)) != 0) out_of_memory(bytes);
  std::memset(memory, 0, round_up(bytes, 64));
  return memory;
}

void release(void* memory, size_t bytes) noexcept {
  if (!memory) return;
  if (bytes >= kMapped) munmap(memory, round_up(bytes, kPage));
  else std::free(memory);
}

bool huge_pages_available() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string text;
  std::getline(file, text);
  return text.find("[madvise]") != std::string::npos || text.find("[always]") != std::string::npos;
}

Arena::~Arena() { release(memory_, bytes_); }

std::byte* Arena::reserve(size_t bytes) {
  if (bytes > bytes_) {
    release(memory_, bytes_);
    memory_ = nullptr;
    bytes_ = 0;
    memory_ = static_cast<std::byte*>(allocate_zeroed(bytes));
    bytes_ = bytes;
  }
  return memory_;
}

}  // namespace cambium

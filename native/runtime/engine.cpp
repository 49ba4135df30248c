// Runs a program: resolves its buffers, then calls kernel after kernel.
#include "engine.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "conv_algorithm.h"
#include "error.h"
#include "fused_plan.h"
#if defined(__linux__)
#include <sched.h>
#endif

namespace cambium {

int default_threads() {
  if (const char* text = std::getenv("CAMBIUM_THREADS")) {
    const long wanted = std::strtol(text, nullptr, 10);
    if (wanted > 0) return static_cast<int>(std::min(wanted, 1024L));
  }
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Engine::Engine() : kernels_(&select_kernels(isa_)), pool_(default_threads()) {
  conv_algorithm();  // a wrong CAMBIUM_CONV is told now, not in the middle of a step
}

int Engine::threads() const { return wanted_threads_ > 0 ? wanted_threads_.load() : default_threads(); }

int64_t Engine::run(Program& program, const std::vector<Array>& arrays) {
  if (static_cast<int>(arrays.size()) < program.arrays)
    throw Error("BAD_ARGUMENT", "the program needs " + std::to_string(program.arrays) + " arrays, got " +
                                    std::to_string(arrays.size()));
  for (size_t i = 0; i < program.array_bytes.size(); ++i)
    if (arrays[i].bytes < program.array_bytes[i])
      throw Error("ARRAY_TOO_SHORT", "arrays[" + std::to_string(i) + "]: the program needs " +
                                         std::to_string(program.array_bytes[i]) + " bytes, got " +
                                         std::to_string(arrays[i].bytes));
  pool_.resize(threads());
  std::byte* arena = program.arena_bytes > 0 ? arena_.reserve(static_cast<size_t>(program.arena_bytes)) : nullptr;
  arena_bytes_ = arena_.bytes();

  std::vector<std::byte*> buffers(program.buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Buffer& buffer = program.buffers[i];
    buffers[i] = buffer.input ? arrays[static_cast<size_t>(buffer.place)].data : arena + buffer.place;
  }

  const bool timed = profiling;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    if (cancelled_) throw Error("CANCELLED", "the environment is shutting down");
    const Step& step = program.steps[i];
    Call call{step, buffers.data(), pool_, vm_scratch_, -1};
    const auto started = std::chrono::steady_clock::now();
    kernels_->run[static_cast<int>(step.kernel)](call);
    if (timed) {
      const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - started;
      program.nanoseconds[i] = spent.count();
    }
    if (call.stop >= 0) return call.stop;
  }
  program.profiled = timed;
  return -1;
}

}  // namespace cambium

// How kernels use threads without owning any: numbered tasks, per-thread scratch, one shared scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace cambium {

/** A borrowed callable (task, thread): no allocation, valid only during the call it is passed to. */
class TaskRef {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::remove_cvref_t<F>, TaskRef>>>
  TaskRef(F&& body)  // NOLINT: implicit on purpose
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(body)))),
        call_([](void* object, int64_t task, int thread) {
          (*static_cast<std::remove_reference_t<F>*>(object))(task, thread);
        }) {}
  void operator()(int64_t task, int thread) const { call_(object_, task, thread); }

 private:
  void* object_;
  void (*call_)(void*, int64_t, int);
};

struct Parallel {
  virtual ~Parallel() = default;
  /** Tasks [0, n) may run on any thread, in any order; blocks until all are done. Not reentrant. */
  virtual void run(int64_t n, TaskRef body) const = 0;
  virtual int threads() const = 0;
  /** 64-byte aligned, grows on demand, contents undefined, valid until the thread asks again. */
  virtual float* scratch(int thread, size_t bytes) const = 0;
  /** One per kernel call; ask only outside run(). */
  virtual float* shared_scratch(size_t bytes) const = 0;
};

}  // namespace cambium

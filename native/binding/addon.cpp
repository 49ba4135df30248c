// The only file JavaScript enters by: the export list is at the bottom.
#include <atomic>
#include <memory>

#include "../runtime/cpu_features.h"
#include "../runtime/engine.h"
#include "../runtime/runner.h"
#include "block.h"
#include "napi.h"
#include "parse_program.h"

#define CAMBIUM_VERSION "0.1.0"

namespace cambium::binding {
namespace {

// Marks our handles: an object from elsewhere is refused instead of being read as a program.
constexpr napi_type_tag kProgramTag = {0x63616d6269756d31ULL, 0x70726f6772616d31ULL};

/** Everything one JavaScript environment (main thread or worker) owns. */
struct Instance {
  Engine engine;
  Runner runner;
  napi_threadsafe_function done = nullptr;
  int pending = 0;
  std::shared_ptr<Allocations> allocations = std::make_shared<Allocations>();
};

struct Run final : Runner::Job {
  Instance* instance = nullptr;
  std::shared_ptr<Program> program;
  std::vector<Array> arrays;
  std::vector<std::shared_ptr<Block>> blocks;  // their memory, when it is ours
  napi_ref pinned = nullptr;                   // keeps the arrays alive until the run is over
  napi_deferred deferred = nullptr;
  int64_t result = -1;
  std::string code, message;

  void run() noexcept override {
    try {
      result = instance->engine.run(*program, arrays);
    } catch (const Error& error) {
      code = error.code;
      message = error.what();
    } catch (const std::bad_alloc&) {
      code = "OUT_OF_MEMORY";
      message = "the engine ran out of memory";
    } catch (const std::exception& error) {
      code = "NATIVE_ERROR";
      message = error.what();
    }
  }

  void finish() noexcept override { napi_call_threadsafe_function(instance->done, this, napi_tsfn_nonblocking); }
};

/** Runs a function body; C++ exceptions become JavaScript ones. */
template <class Body>
napi_value guarded(napi_env env, Body body) {
  const auto raise = [env](const char* code, const char* message) {
    napi_throw_error(env, code, message);
    return nullptr;
  };
  try {
    return body();
  } catch (const PendingException&) {
    return nullptr;
  } catch (const Error& error) {
    return raise(error.code.c_str(), error.what());
  } catch (const std::bad_alloc&) {
    return raise("OUT_OF_MEMORY", "the engine ran out of memory");
  } catch (const std::exception& error) {
    return raise("NATIVE_ERROR", error.what());
  }
}

Instance& instance_of(napi_env env) {
  void* data = nullptr;
  check(env, napi_get_instance_data(env, &data));
  if (!data) throw Error("CLOSED", "the engine is shut down");
  return *static_cast<Instance*>(data);
}

template <size_t N>
void arguments(napi_env env, napi_callback_info info, napi_value (&values)[N]) {
  size_t count = N;
  check(env, napi_get_cb_info(env, info, &count, values, nullptr, nullptr));
  if (count < N) throw Error("BAD_ARGUMENT", "expected " + std::to_string(N) + " arguments");
}

std::shared_ptr<Program>& program_of(napi_env env, napi_value handle) {
  bool ours = false;
  if (napi_check_object_type_tag(env, handle, &kProgramTag, &ours) != napi_ok || !ours)
    throw Error("BAD_ARGUMENT", "expected a handle made by createProgram");
  void* data = nullptr;
  check(env, napi_unwrap(env, handle, &data));
  return *static_cast<std::shared_ptr<Program>*>(data);
}

napi_value allocate(napi_env env, napi_callback_info info) {
  return guarded(env, [&] {
    napi_value argument[1];
    arguments(env, info, argument);
    const int64_t bytes = Value{env, argument[0], "bytes"}.integer();
    if (bytes < 0) throw Error("BAD_ARGUMENT", "bytes: expected a size, got " + std::to_string(bytes));
    napi_value result;
    if (bytes == 0) {
      void* unused;
      check(env, napi_create_arraybuffer(env, 0, &unused, &result));
      return result;
    }
    auto block = std::make_shared<Block>(static_cast<size_t>(bytes), instance_of(env).allocations);
    const auto finalise = [](napi_env owner, void* data, void*) {
      int64_t total;
      napi_adjust_external_memory(owner, -Block::forget(data), &total);
    };
    Block::remember(block);
    const napi_status status =
        napi_create_external_arraybuffer(env, block->data, block->bytes, finalise, nullptr, &result);
    if (status != napi_ok) Block::forget(block->data);
    check(env, status);
    int64_t total;
    // Tells the collector what hangs on this small object. A failure here only delays a collection.
    napi_adjust_external_memory(env, bytes, &total);
    return result;
  });
}

napi_value create_program(napi_env env, napi_callback_info info) {
  return guarded(env, [&] {
    napi_value argument[1];
    arguments(env, info, argument);
    auto program = std::make_unique<std::shared_ptr<Program>>(parse_program(env, argument[0]));
    napi_value handle;
    check(env, napi_create_object(env, &handle));
    const auto finalise = [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Program>*>(data); };
    check(env, napi_wrap(env, handle, program.get(), finalise, nullptr, nullptr));
    program.release();
    check(env, napi_type_tag_object(env, handle, &kProgramTag));
    return handle;
  });
}

/** The memory of each typed array; `kept` receives the arrays themselves, so that later edits of `list` do not matter. */
std::vector<Array> read_arrays(napi_env env, napi_value list, napi_value* kept) {
  const Value arrays{env, list, "arrays"};
  const uint32_t count = arrays.length();
  std::vector<Array> result(count);
  check(env, napi_create_array_with_length(env, count, kept));
  for (uint32_t i = 0; i < count; ++i) {
    HandleScope scope(env);
    const Value item = arrays.at(i);
    bool typed = false, detached = false;
    check(env, napi_is_typedarray(env, item.value, &typed));
    if (!typed) throw Error("BAD_ARGUMENT", item.path + ": expected a typed array");
    napi_typedarray_type type;
    size_t length, offset;
    void* data;
    napi_value buffer;
    check(env, napi_get_typedarray_info(env, item.value, &type, &length, &data, &buffer, &offset));
    if (napi_is_detached_arraybuffer(env, buffer, &detached) == napi_ok && detached)
      throw Error("DETACHED_ARRAY", item.path + ": its memory was transferred away");
    static constexpr int64_t element[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};  // by napi_typedarray_type
    const int64_t bytes = static_cast<size_t>(type) < 11 ? element[type] : 1;
    result[i] = {static_cast<std::byte*>(data), static_cast<int64_t>(length) * bytes};
    check(env, napi_set_element(env, *kept, i, item.value));
  }
  return result;
}

napi_value run(napi_env env, napi_callback_info info) {
  return guarded(env, [&] {
    napi_value argument[2];
    arguments(env, info, argument);
    Instance& instance = instance_of(env);
    auto job = std::make_unique<Run>();
    job->instance = &instance;
    job->program = program_of(env, argument[0]);
    napi_value kept, promise;
    job->arrays = read_arrays(env, argument[1], &kept);
    for (const Array& array : job->arrays)
      if (auto block = Block::find(array.data)) job->blocks.push_back(std::move(block));
    check(env, napi_create_reference(env, kept, 1, &job->pinned));
    const napi_status status = napi_create_promise(env, &job->deferred, &promise);
    if (status != napi_ok) napi_delete_reference(env, job->pinned);
    check(env, status);
    // A pending run keeps the process alive; an idle engine does not.
    if (instance.pending++ == 0) napi_ref_threadsafe_function(env, instance.done);
    instance.runner.submit(job.release());
    return promise;
  });
}

void settle(napi_env env, napi_value, void*, void* data) {
  std::unique_ptr<Run> job(static_cast<Run*>(data));
  if (!env) return;  // the environment is going down: nobody waits
  if (--job->instance->pending == 0) napi_unref_threadsafe_function(env, job->instance->done);
  napi_delete_reference(env, job->pinned);
  guarded(env, [&]() -> napi_value {
    if (job->code.empty()) check(env, napi_resolve_deferred(env, job->deferred, make_number(env, job->result)));
    else check(env, napi_reject_deferred(env, job->deferred, make_error(env, job->code, job->message)));
    return nullptr;
  });
}

napi_value set_threads(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argument[1];
    arguments(env, info, argument);
    const int64_t threads = Value{env, argument[0], "threads"}.integer();
    if (threads < 0 || threads > 1024) throw Error("BAD_ARGUMENT", "threads: expected 0 (default) to 1024");
    instance_of(env).engine.set_threads(static_cast<int>(threads));
    return nullptr;
  });
}

napi_value set_profiling(napi_env env, napi_callback_info info) {
  return guarded(env, [&]() -> napi_value {
    napi_value argument[1];
    arguments(env, info, argument);
    bool on;
    check(env, napi_get_value_bool(env, argument[0], &on));
    instance_of(env).engine.profiling = on;
    return nullptr;
  });
}

napi_value profile(napi_env env, napi_callback_info info) {
  return guarded(env, [&] {
    napi_value argument[1];
    arguments(env, info, argument);
    const Program& program = *program_of(env, argument[0]);
    const size_t count = program.profiled ? program.nanoseconds.size() : 0;
    void* data;
    napi_value buffer, result;
    check(env, napi_create_arraybuffer(env, count * 8, &data, &buffer));
    for (size_t i = 0; i < count; ++i) static_cast<double*>(data)[i] = program.nanoseconds[i];
    check(env, napi_create_typedarray(env, napi_float64_array, count, buffer, 0, &result));
    return result;
  });
}

napi_value info_object(napi_env env, napi_callback_info) {
  return guarded(env, [&] {
    const Engine& engine = instance_of(env).engine;
    napi_value result, names, huge;
    check(env, napi_create_object(env, &result));
    set(env, result, "isa", make_text(env, engine.isa()));
    check(env, napi_create_array(env, &names));
    for (uint32_t i = 0; i < available_isas().size(); ++i)
      check(env, napi_set_element(env, names, i, make_text(env, available_isas()[i])));
    set(env, result, "isaAvailable", names);
    set(env, result, "threads", make_number(env, engine.threads()));
    check(env, napi_get_boolean(env, huge_pages_available(), &huge));
    set(env, result, "hugePages", huge);
    set(env, result, "version", make_text(env, CAMBIUM_VERSION));
    return result;
  });
}

napi_value memory(napi_env env, napi_callback_info) {
  return guarded(env, [&] {
    const Instance& instance = instance_of(env);
    napi_value result;
    check(env, napi_create_object(env, &result));
    set(env, result, "arenaBytes", make_number(env, static_cast<double>(instance.engine.arena_bytes())));
    set(env, result, "scratchBytes", make_number(env, static_cast<double>(instance.engine.scratch_bytes())));
    set(env, result, "allocatedBytes", make_number(env, static_cast<double>(instance.allocations->bytes)));
    set(env, result, "liveBuffers", make_number(env, static_cast<double>(instance.allocations->buffers)));
    return result;
  });
}

}  // namespace

napi_value initialise(napi_env env, napi_value exports) {
  return guarded(env, [&] {
    auto instance = std::make_unique<Instance>();
    check(env, napi_create_threadsafe_function(env, nullptr, nullptr, make_text(env, "cambium"), 0, 1, nullptr,
                                               nullptr, nullptr, settle, &instance->done));
    check(env, napi_unref_threadsafe_function(env, instance->done));
    const auto finalise = [](napi_env, void* data, void*) { delete static_cast<Instance*>(data); };
    check(env, napi_set_instance_data(env, instance.get(), finalise, nullptr));
    // Added after the thread-safe function, so run before its own hook: the runner is gone before what it calls.
    const auto stop = [](void* data) {
      static_cast<Instance*>(data)->engine.cancel();
      static_cast<Instance*>(data)->runner.stop();
    };
    check(env, napi_add_env_cleanup_hook(env, stop, instance.get()));
    instance.release();

    const struct {
      const char* name;
      napi_callback function;
    } functions[] = {{"allocate", allocate},   {"createProgram", create_program}, {"run", run},
                     {"setThreads", set_threads}, {"info", info_object},          {"setProfiling", set_profiling},
                     {"profile", profile},     {"memory", memory}};
    for (const auto& [name, function] : functions) {
      napi_value value;
      check(env, napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value));
      set(env, exports, name, value);
    }
    return exports;
  });
}

}  // namespace cambium::binding

NAPI_MODULE_INIT() { return cambium::binding::initialise(env, exports); }

// The few Node-API calls the binding uses, checked: a failed call becomes an Error, never a silent undefined.
#pragma once

#include <node_api.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "../runtime/error.h"

namespace cambium::binding {

/** A JavaScript exception is already pending; unwinds to the entry point, which leaves it alone. */
struct PendingException {};

inline void check(napi_env env, napi_status status) {
  if (status == napi_ok) return;
  if (status == napi_pending_exception) throw PendingException{};
  const napi_extended_error_info* info = nullptr;
  napi_get_last_error_info(env, &info);
  throw Error("BAD_ARGUMENT", info && info->error_message ? info->error_message : "a Node-API call failed");
}

/** A value with the path that leads to it, so that errors say where: `program.steps[3].in`. */
struct Value {
  napi_env env;
  napi_value value;
  std::string path;

  [[noreturn]] void fail(const std::string& expected) const {
    throw Error("BAD_PROGRAM", path + ": expected " + expected);
  }

  napi_valuetype type() const {
    napi_valuetype type;
    check(env, napi_typeof(env, value, &type));
    return type;
  }

  bool present() const { return type() != napi_undefined && type() != napi_null; }

  Value operator[](const char* key) const {
    if (type() != napi_object) fail("an object");
    napi_value result;
    check(env, napi_get_named_property(env, value, key, &result));
    return {env, result, path + "." + key};
  }

  uint32_t length() const {
    bool array = false;
    check(env, napi_is_array(env, value, &array));
    if (!array) fail("an array");
    uint32_t length;
    check(env, napi_get_array_length(env, value, &length));
    return length;
  }

  Value at(uint32_t i) const {
    napi_value result;
    check(env, napi_get_element(env, value, i, &result));
    return {env, result, path + "[" + std::to_string(i) + "]"};
  }

  double number() const {
    double result;
    if (napi_get_value_double(env, value, &result) != napi_ok) fail("a number");
    return result;
  }

  int64_t integer() const {
    const double result = number();
    if (!(std::fabs(result) <= 9007199254740991.0) || result != std::floor(result)) fail("an integer");
    return static_cast<int64_t>(result);
  }

  int small() const {
    const int64_t result = integer();
    if (result < -1 || result > 1'000'000'000) fail("a small integer");
    return static_cast<int>(result);
  }

  std::string text() const {
    if (type() != napi_string) fail("a string");
    size_t length;
    check(env, napi_get_value_string_utf8(env, value, nullptr, 0, &length));
    std::string result(length, '\0');
    check(env, napi_get_value_string_utf8(env, value, result.data(), length + 1, &length));
    return result;
  }

  std::vector<int64_t> integers() const {
    std::vector<int64_t> result;
    const uint32_t n = length();
    result.reserve(n);
    for (uint32_t i = 0; i < n; ++i) result.push_back(at(i).integer());
    return result;
  }

  std::vector<int> smalls() const {
    std::vector<int> result;
    const uint32_t n = length();
    result.reserve(n);
    for (uint32_t i = 0; i < n; ++i) result.push_back(at(i).small());
    return result;
  }
};

inline napi_value make_number(napi_env env, double number) {
  napi_value result;
  check(env, napi_create_double(env, number, &result));
  return result;
}

inline napi_value make_text(napi_env env, const std::string& text) {
  napi_value result;
  check(env, napi_create_string_utf8(env, text.data(), text.size(), &result));
  return result;
}

inline void set(napi_env env, napi_value object, const char* key, napi_value value) {
  check(env, napi_set_named_property(env, object, key, value));
}

inline napi_value make_error(napi_env env, const std::string& code, const std::string& message) {
  napi_value result;
  check(env, napi_create_error(env, make_text(env, code), make_text(env, message), &result));
  return result;
}

/** Ends a scope when the caller does: callbacks that make many handles must not pile them up. */
class HandleScope {
 public:
  explicit HandleScope(napi_env env) : env_(env) { check(env, napi_open_handle_scope(env, &scope_)); }
  ~HandleScope() { napi_close_handle_scope(env_, scope_); }
  HandleScope(const HandleScope&) = delete;
  HandleScope& operator=(const HandleScope&) = delete;

 private:
  napi_env env_;
  napi_handle_scope scope_ = nullptr;
};

}  // namespace cambium::binding

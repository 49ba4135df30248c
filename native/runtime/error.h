// The one exception of the engine: a stable code and a sentence; the binding turns it into a JavaScript Error.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace cambium {

struct Error : std::runtime_error {
  std::string code;
  Error(std::string error_code, const std::string& message)
      : std::runtime_error(message), code(std::move(error_code)) {}
};

}  // namespace cambium

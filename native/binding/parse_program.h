// Reads the compiler's JavaScript object into a Program; structure and names only, numbers are prepare()'s matter.
#pragma once

#include <memory>

#include "../runtime/program.h"
#include "napi.h"

namespace cambium::binding {

std::shared_ptr<Program> parse_program(napi_env env, napi_value object);

}  // namespace cambium::binding

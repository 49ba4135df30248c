// Names of the program text -> enumerators, from the tables in kernel_list.h and fused_ops.h.
#include <array>
#include <sstream>
#include <unordered_map>

#include "error.h"
#include "program.h"

namespace cambium {
namespace {

constexpr const char* kKernelNames[] = {
#define X(id, name, in, out, epilogue, attrs) name,
    CAMBIUM_KERNELS(X)
#undef X
};

template <class T, size_t N>
T find(const char* what, const std::string& name, const std::pair<const char*, T> (&table)[N]) {
  for (const auto& [key, value] : table)
    if (name == key) return value;
  throw Error("BAD_PROGRAM", std::string("unknown ") + what + " \"" + name + "\"");
}

}  // namespace

Kernel kernel_named(const std::string& name) {
  for (int i = 0; i < kKernels; ++i)
    if (name == kKernelNames[i]) return static_cast<Kernel>(i);
  throw Error("BAD_PROGRAM", "unknown kernel \"" + name + "\"");
}

const char* kernel_name(Kernel kernel) { return kKernelNames[static_cast<int>(kernel)]; }

VmOp vm_op_named(const std::string& name) {
  static const std::unordered_map<std::string, VmOp> ops = {
#define X(id, text, arity) {text, VmOp::id},
      CAMBIUM_VM_OPS(X)
#undef X
  };
  const auto found = ops.find(name);
  if (found == ops.end()) throw Error("BAD_PROGRAM", "unknown instruction \"" + name + "\"");
  return found->second;
}

DType dtype_named(const std::string& name) {
  static constexpr std::pair<const char*, DType> dtypes[] = {
      {"f32", DType::f32}, {"i32", DType::i32}, {"u8", DType::u8}, {"bool", DType::boolean}};
  return find("dtype", name, dtypes);
}

ReduceOp reduce_op_named(const std::string& name) {
  static constexpr std::pair<const char*, ReduceOp> ops[] = {
      {"sum", ReduceOp::sum}, {"max", ReduceOp::max}, {"min", ReduceOp::min}};
  return find("reduction", name, ops);
}

const std::vector<std::string>& kernel_attributes(Kernel kernel) {
  static const auto tables = [] {
    constexpr const char* texts[] = {
#define X(id, name, in, out, epilogue, attrs) attrs,
        CAMBIUM_KERNELS(X)
#undef X
    };
    std::array<std::vector<std::string>, kKernels> result;
    for (size_t i = 0; i < kKernels; ++i) {
      std::istringstream words(texts[i]);
      for (std::string word; words >> word;) result[i].push_back(word);
    }
    return result;
  }();
  return tables[static_cast<size_t>(kernel)];
}

}  // namespace cambium

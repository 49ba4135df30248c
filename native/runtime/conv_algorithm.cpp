// CAMBIUM_CONV.
#include "conv_algorithm.h"

#include <cstdlib>
#include <string>

#include "error.h"

namespace cambium {
namespace {

ConvAlgorithm parse(const char* value) {
  const std::string name = value ? value : "";
  if (name.empty() || name == "auto") return ConvAlgorithm::automatic;
  if (name == "direct") return ConvAlgorithm::direct;
  if (name == "winograd") return ConvAlgorithm::winograd;
  if (name == "winograd2") return ConvAlgorithm::winograd2;
  if (name == "winograd4") return ConvAlgorithm::winograd4;
  throw Error("BAD_CONV", "CAMBIUM_CONV=" + name + " is not known; choose one of auto, direct, winograd, winograd2, winograd4");
}

}  // namespace

ConvAlgorithm conv_algorithm() {
  static const ConvAlgorithm algorithm = parse(std::getenv("CAMBIUM_CONV"));
  return algorithm;
}

}  // namespace cambium

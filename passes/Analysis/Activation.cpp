#include "passes/Analysis/Activation.h"
#include <cmath>

double moe::activate(Activation activation, double alpha, double x) {
  switch (activation) {
  case Activation::Identity:
    return x;
  case Activation::Relu:
    return std::max(x, 0.0);
  case Activation::Relu2:
    return x > 0 ? x * x : 0;
  case Activation::Silu:
    return x / (1 + std::exp(-alpha * x));
  case Activation::Gelu:
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  case Activation::GeluTanh:
    return 0.5 * x *
           (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  llvm_unreachable("all activations are handled");
}

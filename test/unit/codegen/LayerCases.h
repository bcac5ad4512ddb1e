// Layers that all kernels have to get right.
#ifndef MOE_TEST_UNIT_CODEGEN_LAYERCASES_H
#define MOE_TEST_UNIT_CODEGEN_LAYERCASES_H

#include "test/unit/codegen/LayerFixture.h"

namespace moe::test {
/// Tests of one kind of kernels: those of few or of many tokens, or of sm_90a.
struct LayerCases {
  bool grouped;
  OnHopper onHopper = OnHopper::No;
  Context context;

  explicit LayerCases(bool grouped) : grouped(grouped) {}
  explicit LayerCases(OnHopper onHopper) : grouped(true), onHopper(onHopper) {}

  /// Against f64.
  void check(Layer &layer, const Case &test);
  void allTokensToOneExpert(int64_t tokens);
  void nullExpertsAndAliases();
  void oddSizes();
  /// With and without a gate.
  void activation(cuda::Activation activation);
  /// Of gpt-oss; a limit, and a factor in the sigmoid, without a gate.
  void activationsWithLimits();
  void biases();
  /// What is no number in an input is none in what comes of it, and nowhere
  /// else.
  void nanStays(cuda::Activation activation);
  /// Runs a layer, and counts what it does.
  emu::Counts count(Layer &layer, const Case &test);
};
} // namespace moe::test

#endif // MOE_TEST_UNIT_CODEGEN_LAYERCASES_H

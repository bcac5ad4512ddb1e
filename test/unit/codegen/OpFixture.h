// Ops on memory, whose kernels run in the emulator.
#ifndef MOE_TEST_UNIT_CODEGEN_OPFIXTURE_H
#define MOE_TEST_UNIT_CODEGEN_OPFIXTURE_H

#include "codegen/CUDA/Kernels.h"
#include "codegen/CUDA/OpKernels.h"
#include "mlir/IR/MLIRContext.h"
#include "runtime/Emulator/Emulator.h"
#include "gtest/gtest.h"
#include <functional>
#include <map>
#include <random>

namespace moe::test {
/// Numbers as memory holds them, or a scalar.
struct Array {
  std::vector<int64_t> shape;
  std::vector<double> values;
  /// In memory, how many lie along each dimension, where those are more.
  std::vector<int64_t> room;
  /// What a kernel left where approximations were as rough as they may be, if
  /// it has any.
  std::vector<double> rough;
  /// Told what the numbers should be, and how far off they may be: where a case
  /// is recorded.
  using Expectation = std::function<void(const std::vector<double> &want,
                                         double relative, double absolute)>;
  Expectation expected;

  Array() = default;
  explicit Array(double scalar) : values{scalar} {}
  Array(std::vector<int64_t> shape, std::function<double(int64_t)> value);
  int64_t size() const;
  double &at(std::initializer_list<int64_t> indices);
  double operator[](int64_t i) const { return values[i]; }
  /// How far apart in memory numbers are along dimension `d`, where number `i`
  /// lies, and how many there are room for.
  int64_t stride(size_t d) const;
  int64_t place(int64_t i) const;
  int64_t places() const { return shape.empty() ? 1 : shape[0] * stride(0); }
};

/// The bits of a number as memory holds it, how many these are, and back.
uint64_t encode(mlir::Type type, double x);
unsigned widthOf(mlir::Type type);
double decode(mlir::Type type, uint64_t bits);
/// A number as an element of `type` holds it.
double roundedTo(mlir::Type type, double x);

class OpKernels : public testing::Test {
protected:
  OpKernels();
  ~OpKernels() override;
  void TearDown() override { finishCase(); }
  /// Runs the op before the `return` of the function that is all of `text`, on
  /// its arguments, with grids and schedules of several kinds, which must
  /// agree. Gives the arguments as they are then. Recorded with what is
  /// expected until the next run, or the end of the test.
  std::vector<Array> run(const std::string &text, std::vector<Array> arguments);
  /// Why there is no kernel for it.
  std::string refusal(const std::string &text);
  /// The kernels of the ops of the functions of `text`.
  mlir::OwningOpRef<mlir::ModuleOp> kernels(const std::string &text);
  Array random(std::vector<int64_t> shape, double scale = 1);
  /// The last run noted this and could have noted nothing else.
  void expectFault(int32_t number);

  mlir::MLIRContext context;
  std::mt19937 generator{1};
  bool mayRound = false; ///< what is multiplied
  int32_t fault = 0;     ///< what the last run left there
  std::string faultMessage, faultWhere;

private:
  struct Compiled;
  struct Placed;
  struct Recorded;
  Compiled *compile(const std::string &text);
  mlir::Operation *parse(const std::string &text,
                         mlir::OwningOpRef<mlir::ModuleOp> &module);

  /// Runs the kernels as a schedule says; `recorded` may be null. Gives what
  /// they left at the faults.
  int32_t start(Compiled &compiled, Placed &placed,
                const std::vector<Array> &arguments,
                const emu::Options &schedule, Recorded *recorded);
  /// Gives results what is to be told of them.
  void record(std::vector<Array> &results);
  void finishCase();

  std::map<std::pair<std::string, bool>, std::unique_ptr<Compiled>> compiled;
  std::shared_ptr<Recorded> recorded; ///< the last run, not written yet
};

/// An op and its kernel.
struct OpKernels::Compiled {
  mlir::OwningOpRef<mlir::ModuleOp> module, kernels;
  std::optional<cuda::OpKernel> made;
  std::unique_ptr<cuda::EmulatedKernels> code;
  std::map<std::string, std::string> recordedPtx; ///< of CaseRecorder

  /// Of the function with the op.
  llvm::ArrayRef<mlir::BlockArgument> arguments();
  bool approximates();
};

/// `got` is within `relative` of `want`, or `absolute`; with rough
/// approximations, too.
void expectNear(const Array &got, const std::vector<double> &want,
                double relative, double absolute = 0);
} // namespace moe::test

#endif // MOE_TEST_UNIT_CODEGEN_OPFIXTURE_H

// MoE layers whose kernels run in the emulator, and the same in f64.
#ifndef MOE_TEST_UNIT_CODEGEN_LAYERFIXTURE_H
#define MOE_TEST_UNIT_CODEGEN_LAYERFIXTURE_H

#include "codegen/CUDA/Kernels.h"
#include "codegen/CUDA/LayerKernels.h"
#include "mlir/IR/MLIRContext.h"
#include "runtime/Emulator/Emulator.h"
#include "test/unit/codegen/CaseRecorder.h"
#include "gtest/gtest.h"
#include <optional>
#include <random>

namespace moe::test {
/// A number as an element holds it, and back.
double rounded(double x, cuda::Element element);
void append(std::vector<uint8_t> &bytes, double x, cuda::Element element);

/// A matrix: what it means, and how it is coded.
struct Matrix {
  int64_t rows, columns;
  std::vector<double> values;
  std::vector<uint8_t> codes, scales, zeros; ///< row by row

  double at(int64_t r, int64_t c) const { return values[r * columns + c]; }
};

/// What kernels are given of a matrix.
struct Packed {
  std::vector<uint8_t> values, scales, zeros;
  std::vector<float> bias;
};

struct Case {
  std::vector<float> x, weights;
  std::vector<int32_t> ids;
};

/// What comes out, and how far rounding carries: if the products with hidden
/// values that make a number are each off by u, at random, it is off by u times
/// the square root of `down`; if those that make hidden values are, by u times
/// that of `up`; if those of a low factor of the first matrix are, by u times
/// that of `low`. Rounding what the second matrix' low factor gives is in
/// `down`, too. `bytes` is the variance that rounding hidden values to 8 bits
/// makes.
struct Reference {
  std::vector<double> values, down, up, low, bytes;
};

/// Whether kernels of sm_90a stand for those of many tokens: with the tiles
/// that suit each expert's number of slots, or with those for many whatever it
/// is.
enum class OnHopper { No, ByCount, Many };

/// A layer: entries of the pool are the experts, with null experts between.
struct Layer {
  cuda::LayerShape shape;
  std::vector<int32_t> entries; ///< expert of each, or -1
  OnHopper onHopper = OnHopper::No;
  std::vector<Matrix> gate, up, down, upLow, downLow; ///< low: or none
  std::vector<std::vector<double>> gateBias, upBias, downBias;
  std::mt19937 random;
  mlir::OwningOpRef<mlir::ModuleOp> module; ///< the kernels
  std::map<std::string, cuda::EmulatedKernels::Entry> kernels;
  std::map<std::string, std::string> recordedPtx; ///< of CaseRecorder

  Layer(cuda::LayerShape shape, std::vector<int32_t> entries,
        unsigned seed = 1);

  Packed packedUp() const;
  Packed packedDown() const;
  Packed packedUpLow() const;
  Packed packedDownLow() const;
  Case makeCase(int64_t tokens);
  /// Inputs are rounded as the kernels round them; nothing else is.
  Reference reference(const Case &test) const;

private:
  /// Row `row` of a tile, of an expert: of which matrix, or null.
  using RowOf =
      llvm::function_ref<std::pair<const Matrix *, int64_t>(int64_t, int64_t)>;
  Packed pack(int64_t rows, int64_t depth, int64_t paddedDepth,
              const std::optional<rt::CodedRows> &coded, RowOf rowOf) const;
  Packed packedLow(const std::vector<Matrix> &low,
                   const cuda::LayerShape &shape) const;
  Matrix matrix(int64_t rows, int64_t columns,
                const std::optional<rt::CodedRows> &coded);
  double activate(double x) const;
  struct Hidden;
  Hidden hiddenOf(int64_t e, int64_t h, const std::vector<double> &x,
                  const std::vector<double> &moves, double scale) const;
  void addExpert(int64_t e, double inputWeight, double weight,
                 const std::vector<double> &x, int64_t first,
                 Reference &made) const;
};

struct Context {
  mlir::MLIRContext context;
  Context();
  mlir::OwningOpRef<mlir::ModuleOp> kernels(const cuda::LayerShape &shape,
                                            int64_t entries, bool grouped,
                                            OnHopper onHopper = OnHopper::No);
};

/// What results should be, and how far off each may be.
struct Expected {
  std::vector<double> values, allowed;
};
Expected expectedOf(const Layer &layer, const Case &test, bool grouped);

/// The layer's kernels on a device of emulated memory.
struct Device {
  Layer &layer;
  emu::Memory memory;
  emu::Options options;
  emu::Counts counts;
  std::string error;
  /// What is recorded, if anything: the first run alone.
  std::unique_ptr<CaseRecorder> recorder;
  /// Recorded with them, where they are known.
  std::optional<Expected> expected;

  Device(Context &context, Layer &layer, bool grouped);
  std::vector<float> run(const Case &test);
  /// The experts with slots, as they were sorted.
  std::vector<int32_t> active;

private:
  template <typename T>
  T *place(const std::vector<T> &values, const char *name);
  template <typename T>
  T *room(int64_t count, const char *name);
  void launch(const char *name, uint32_t blocks, std::vector<void *> values);
};

/// Runs the layer with copies that land early and late, and compares.
void checkLayer(Context &context, Layer &layer, const Case &test, bool grouped);
} // namespace moe::test

#endif // MOE_TEST_UNIT_CODEGEN_LAYERFIXTURE_H

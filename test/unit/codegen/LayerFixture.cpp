#include "test/unit/codegen/LayerFixture.h"

#include "dialects/CodeTables.h"
#include "runtime/Emulator/Numbers.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace moe;
using namespace moe::cuda;
using namespace moe::test;

double test::rounded(double x, Element element) {
  float single = static_cast<float>(x);
  return element == Element::BF16  ? emu::fromBf16(emu::toBf16(single))
         : element == Element::F16 ? emu::fromF16(emu::toF16(single))
                                   : single;
}

void test::append(std::vector<uint8_t> &bytes, double x, Element element) {
  float single = static_cast<float>(x);
  uint32_t bits = element == Element::BF16  ? emu::toBf16(single)
                  : element == Element::F16 ? emu::toF16(single)
                                            : emu::bitsOf(single);
  for (int i = 0; i < (element == Element::F32 ? 4 : 2); ++i)
    bytes.push_back(static_cast<uint8_t>(bits >> 8 * i));
}

Layer::Layer(LayerShape shape, std::vector<int32_t> entries, unsigned seed)
    : shape(shape), entries(std::move(entries)), random(seed) {
  std::normal_distribution<float> normal(0, 0.5f);
  auto vector = [&](int64_t count, bool isThere) {
    std::vector<double> numbers(count);
    for (double &number : numbers)
      number = isThere ? normal(random) : 0;
    return numbers;
  };
  int64_t inputs = shape.upProduct().inputs;
  int64_t hidden = shape.downProduct().hidden;
  for (int64_t e = 0; e < shape.experts; ++e) {
    gate.push_back(matrix(shape.hidden, inputs, shape.upCoded));
    up.push_back(matrix(shape.hidden, inputs, shape.upCoded));
    down.push_back(matrix(shape.outputs, hidden, shape.downCoded));
    if (shape.upRank)
      upLow.push_back(matrix(shape.upRank, shape.inputs, shape.upLowCoded));
    if (shape.downRank)
      downLow.push_back(
          matrix(shape.downRank, shape.hidden, shape.downLowCoded));
    gateBias.push_back(vector(shape.hidden, shape.hasUpBias));
    upBias.push_back(vector(shape.hidden, shape.hasUpBias));
    downBias.push_back(vector(shape.outputs, shape.hasDownBias));
  }
}

/// A random scale near `size`, and its bytes.
static double makeScale(std::mt19937 &random, double size, rt::RowScale type,
                        std::vector<uint8_t> &bytes) {
  if (type == rt::RowScale::E8M0) {
    int exponent = int(std::floor(std::log2(size))) + int(random() % 3) - 1;
    bytes.push_back(static_cast<uint8_t>(exponent + 127));
    return std::ldexp(1.0, exponent);
  }
  Element element = type == rt::RowScale::F16    ? Element::F16
                    : type == rt::RowScale::BF16 ? Element::BF16
                                                 : Element::F32;
  double scale = size * (0.5 + random() % 1000 / 1000.0);
  append(bytes, scale, element);
  return rounded(scale, element);
}

static double fp8Number(uint8_t code) {
  int exponent = code >> 3 & 15, fraction = code & 7;
  double size = exponent ? std::ldexp(8 + fraction, exponent - 10)
                         : std::ldexp(fraction, -9);
  return code & 128 ? -size : size;
}

Matrix Layer::matrix(int64_t rows, int64_t columns,
                     const std::optional<rt::CodedRows> &coded) {
  Matrix made{rows, columns, {}, {}, {}, {}};
  double size = 1 / std::sqrt(double(columns));
  if (!coded) {
    std::normal_distribution<float> normal(0, float(size));
    for (int64_t i = 0; i < rows * columns; ++i)
      made.values.push_back(rounded(normal(random), shape.element));
    return made;
  }
  bool isInt8 = coded->coding == rt::RowCoding::Int8;
  bool isFp8 = coded->isFp8();
  bool isInt4 = coded->coding == rt::RowCoding::Int4;
  int64_t block = coded->block ? coded->block : columns;
  for (int64_t r = 0; r < rows; ++r) {
    double scale = 0, zero = 0;
    for (int64_t c = 0; c < columns; ++c) {
      if (c % block == 0) {
        scale = makeScale(random,
                          size / (isInt8 || isFp8 ? 64
                                  : isInt4        ? 4
                                                  : 1),
                          coded->scale, made.scales);
        uint8_t code = isInt8 ? random() % 256 : random() % 16;
        zero = isInt8 ? int8_t(code) : code;
        if (coded->hasZeros)
          made.zeros.push_back(code);
        else
          zero = isInt8 ? 0 : 8;
      }
      uint8_t code = random() % (coded->isByte() ? 256 : 16);
      if (isFp8 && code % 128 == 127)
        code -= 1; // the largest number: the next code is none
      made.codes.push_back(code);
      made.values.push_back(isInt8   ? (int8_t(code) - zero) * scale
                            : isFp8  ? fp8Number(code) * scale
                            : isInt4 ? (code - zero) * scale
                            : coded->coding == rt::RowCoding::Fp4
                                ? kFp4Table[code] * scale
                                : kNf4Table[code] * scale);
    }
  }
  return made;
}

Packed Layer::pack(int64_t rows, int64_t depth, int64_t paddedDepth,
                   const std::optional<rt::CodedRows> &coded,
                   RowOf rowOf) const {
  Packed packed;
  for (int64_t e = 0; e < shape.experts; ++e)
    for (int64_t tile = 0; tile < rows / 16; ++tile) {
      rt::CodedRow list[16];
      for (int64_t r = 0; r < 16; ++r) {
        auto [from, row] = rowOf(e, tile * 16 + r);
        for (int64_t c = 0; !coded && c < paddedDepth; ++c)
          append(packed.values, from && c < depth ? from->at(row, c) : 0,
                 shape.element);
        if (!coded || !from)
          continue;
        int64_t block = coded->block ? coded->block : depth;
        int64_t blocks = (depth + block - 1) / block;
        list[r] = {&from->codes[row * depth],
                   &from->scales[row * blocks * coded->scaleSize()],
                   coded->hasZeros ? &from->zeros[row * blocks] : nullptr};
      }
      if (!coded)
        continue;
      auto grow = [](std::vector<uint8_t> &bytes, int64_t count) {
        bytes.resize(bytes.size() + count, 0xAA);
        return bytes.data() + bytes.size() - count;
      };
      uint8_t *codes = grow(packed.values, coded->codeBytes(depth));
      uint8_t *scales = grow(packed.scales, coded->scaleBytes(depth));
      uint8_t *zeros = grow(packed.zeros, coded->zeroBytes(depth));
      rt::packCodedTile(*coded, depth, list, codes, scales, zeros);
    }
  return packed;
}

/// A low factor: rows in order.
Packed Layer::packedLow(const std::vector<Matrix> &low,
                        const LayerShape &shape) const {
  if (low.empty())
    return {};
  return pack(
      shape.upTiles() * 16, shape.inputs, shape.paddedInputs(), shape.upCoded,
      [&](int64_t e, int64_t row) -> std::pair<const Matrix *, int64_t> {
        if (row >= shape.hidden)
          return {nullptr, 0};
        return {&low[e], row};
      });
}

Packed Layer::packedUpLow() const { return packedLow(upLow, shape.upLow()); }

Packed Layer::packedDownLow() const {
  return packedLow(downLow, shape.downLow());
}

Packed Layer::packedUp() const {
  const LayerShape shape = this->shape.upProduct();
  int64_t rows = shape.upTiles() * 16;
  // Of a row of an expert: is it of the gate, and which neuron's.
  auto neuronOf = [&](int64_t row) -> std::pair<bool, int64_t> {
    if (!shape.isGlu)
      return {false, row};
    return {row % 16 < 8, row / 16 * 8 + row % 8};
  };
  Packed packed =
      pack(rows, shape.inputs, shape.paddedInputs(), shape.upCoded,
           [&](int64_t e, int64_t row) -> std::pair<const Matrix *, int64_t> {
             auto [isGate, neuron] = neuronOf(row);
             if (neuron >= shape.hidden)
               return {nullptr, 0};
             return {isGate ? &gate[e] : &up[e], neuron};
           });
  for (int64_t i = 0; shape.hasUpBias && i < shape.experts * rows; ++i) {
    auto [isGate, neuron] = neuronOf(i % rows);
    packed.bias.push_back(
        neuron < shape.hidden
            ? float((isGate ? gateBias : upBias)[i / rows][neuron])
            : 0);
  }
  return packed;
}

Packed Layer::packedDown() const {
  const LayerShape shape = this->shape.downProduct();
  int64_t rows = shape.paddedOutputs();
  Packed packed =
      pack(rows, shape.hidden, shape.paddedHidden(), shape.downCoded,
           [&](int64_t e, int64_t row) -> std::pair<const Matrix *, int64_t> {
             if (row >= shape.outputs)
               return {nullptr, 0};
             return {&down[e], row};
           });
  for (int64_t i = 0; shape.hasDownBias && i < shape.experts * rows; ++i)
    packed.bias.push_back(
        i % rows < shape.outputs ? float(downBias[i / rows][i % rows]) : 0);
  return packed;
}

Case Layer::makeCase(int64_t tokens) {
  Case made;
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < tokens * shape.inputs; ++i)
    made.x.push_back(normal(random));
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> all(entries.size());
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = i;
    std::shuffle(all.begin(), all.end(), random);
    for (int64_t c = 0; c < shape.topK; ++c) {
      made.ids.push_back(all[c]);
      made.weights.push_back(0.1f + 0.2f * (random() % 5));
    }
  }
  return made;
}

double Layer::activate(double x) const {
  if (shape.limit > 0)
    x = std::min(x, shape.limit);
  switch (shape.activation) {
  case cuda::Activation::Identity:
    return x;
  case cuda::Activation::Relu:
    return std::max(x, 0.0);
  case cuda::Activation::Relu2:
    return std::pow(std::max(x, 0.0), 2);
  case cuda::Activation::Silu:
    return x / (1 + std::exp(-shape.alpha * x));
  case cuda::Activation::GeluTanh:
    return x / 2 *
           (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case cuda::Activation::Gelu:
    return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
  }
  return 0;
}

namespace {
/// A sum of products, and that of their squares.
struct Sum {
  double value = 0, squares = 0;
  Sum(const Matrix &m, int64_t row, const std::vector<double> &x) {
    for (int64_t i = 0; i < m.columns; ++i) {
      double product = m.at(row, i) * x[i];
      value += product, squares += product * product;
    }
  }
};
} // namespace

/// A hidden value, and the squares of what changes it: if each product changes
/// by its size, and if each input changes by what it may.
struct Layer::Hidden {
  double value, products, inputs;
};

Layer::Hidden Layer::hiddenOf(int64_t e, int64_t h,
                              const std::vector<double> &x,
                              const std::vector<double> &moves,
                              double scale) const {
  auto slope = [&](double x) {
    constexpr double kStep = 1e-5;
    return (activate(x + kStep) - activate(x - kStep)) / (2 * kStep);
  };
  auto squares = [&](const Matrix &m, double slope) {
    double sum = 0;
    for (size_t i = 0; i < moves.size(); ++i)
      sum += std::pow(slope * scale * m.at(h, int64_t(i)), 2) * moves[i];
    return sum;
  };
  Sum line(up[e], h, x);
  double u = scale * line.value + upBias[e][h], square = scale * scale;
  if (!shape.isGlu)
    return {activate(u), square * std::pow(slope(u), 2) * line.squares,
            squares(up[e], slope(u))};
  Sum gated(gate[e], h, x);
  double g = scale * gated.value + gateBias[e][h];
  if (shape.limit > 0)
    u = std::min(std::max(u, -shape.limit), shape.limit);
  u += shape.beta;
  double ofGate = slope(g) * u, ofLine = activate(g);
  return {ofLine * u,
          square * (std::pow(ofGate, 2) * gated.squares +
                    std::pow(ofLine, 2) * line.squares),
          squares(gate[e], ofGate) + squares(up[e], ofLine)};
}

/// Calls `body(first, end, scale, inverse)` for the blocks of a row of bytes,
/// with what its numbers are multiplied by, before and after.
template <typename Number>
static void
forBlocks(const std::vector<Number> &row, int64_t block,
          llvm::function_ref<void(size_t, size_t, float, float)> body) {
  for (size_t first = 0; first < row.size(); first += block) {
    size_t end = std::min(row.size(), first + block);
    float largest = 0;
    for (size_t i = first; i < end; ++i)
      if (float size = std::abs(static_cast<float>(row[i])); size > largest)
        largest = size;
    bool isNone = largest < 0x1p-100f;
    body(first, end, isNone ? 1 : largest / 448, isNone ? 1 : 448 / largest);
  }
}

/// A row of inputs as it is rounded to bytes.
static std::vector<double> roundedRow(const std::vector<float> &x,
                                      int64_t block) {
  std::vector<double> made(x.size());
  forBlocks(x, block, [&](size_t i, size_t end, float scale, float inverse) {
    for (; i < end; ++i)
      made[i] = double(emu::fromE4M3(emu::toE4M3(x[i] * inverse))) * scale;
  });
  return made;
}

/// The variances of rounding hidden values to bytes: steps are evenly likely.
static std::vector<double> variancesOf(const std::vector<double> &hidden,
                                       int64_t block) {
  std::vector<double> made(hidden.size());
  forBlocks(hidden, block, [&](size_t i, size_t end, float scale, float) {
    for (; i < end; ++i) {
      int exponent = std::max(std::ilogb(std::abs(hidden[i]) / scale), -6);
      made[i] = std::pow(std::ldexp(scale, exponent - 3), 2) / 12;
    }
  });
  return made;
}

/// Adds what expert `e` gives for inputs `x` times `inputWeight`, `weight`
/// times, to the numbers from `first` on.
void Layer::addExpert(int64_t e, double inputWeight, double weight,
                      const std::vector<double> &x, int64_t first,
                      Reference &made) const {
  std::vector<double> inputs = x, moves;
  if (shape.upRank) {
    inputs.clear();
    for (int64_t r = 0; r < shape.upRank; ++r) {
      Sum sum(upLow[e], r, x);
      inputs.push_back(inputWeight * sum.value);
      moves.push_back(inputWeight * inputWeight * sum.squares);
    }
    inputWeight = 1;
  }
  std::vector<Hidden> all;
  std::vector<double> hidden;
  for (int64_t h = 0; h < shape.hidden; ++h) {
    all.push_back(hiddenOf(e, h, inputs, moves, inputWeight));
    hidden.push_back(all.back().value);
  }
  std::vector<double> last = hidden, variances;
  if (auto rows = shape.hiddenBytes())
    variances = variancesOf(hidden, rows->block);
  if (shape.downRank) {
    last.clear();
    for (int64_t r = 0; r < shape.downRank; ++r)
      last.push_back(Sum(downLow[e], r, hidden).value);
  }
  for (int64_t o = 0; o < shape.outputs; ++o) {
    Sum sum(down[e], o, last);
    int64_t at = first + o;
    double square = weight * weight;
    made.values[at] += weight * (sum.value + downBias[e][o]);
    made.down[at] += square * sum.squares;
    for (int64_t h = 0; h < shape.hidden; ++h) {
      double factor = shape.downRank ? 0 : down[e].at(o, h);
      for (int64_t r = 0; r < shape.downRank; ++r)
        factor += down[e].at(o, r) * downLow[e].at(r, h);
      factor *= factor * square;
      if (shape.downRank)
        made.down[at] += factor * hidden[h] * hidden[h];
      if (!variances.empty())
        made.bytes[at] += factor * variances[h];
      made.up[at] += factor * all[h].products;
      made.low[at] += factor * all[h].inputs;
    }
  }
}

Reference Layer::reference(const Case &test) const {
  int64_t tokens = test.x.size() / shape.inputs, count = tokens * shape.outputs;
  std::vector<double> none(count);
  Reference made{none, none, none, none, none};
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<double> x(shape.inputs), weights(shape.experts);
    for (int64_t i = 0; i < shape.inputs; ++i)
      x[i] = rounded(test.x[t * shape.inputs + i], shape.element);
    if (auto rows = shape.inputBytes()) {
      auto row = test.x.begin() + t * shape.inputs;
      x = roundedRow({row, row + shape.inputs}, rows->block);
    }
    for (int64_t c = 0; c < shape.topK; ++c) {
      int32_t id = test.ids[t * shape.topK + c];
      if (id < 0 || id >= int64_t(entries.size()) || entries[id] < 0)
        continue;
      double weight = test.weights[t * shape.topK + c];
      if (shape.scaleInput)
        addExpert(entries[id], weight, shape.outputScale, x, t * shape.outputs,
                  made);
      else
        weights[entries[id]] += weight;
    }
    // Entries that mean the same expert are off in the same way.
    for (int64_t e = 0; e < shape.experts; ++e)
      if (weights[e] != 0)
        addExpert(e, 1, weights[e] * shape.outputScale, x, t * shape.outputs,
                  made);
  }
  return made;
}

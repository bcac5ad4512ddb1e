#include "codegen/Report/ExpertSimilarity.h"

#include "dialects/MoE/MoEOps.h"
#include "mlir/IR/Matchers.h"
#include "passes/Analysis/Activation.h"
#include "passes/Analysis/Recipe.h"
#include "passes/Analysis/WeightSource.h"
#include "runtime/Bank/Profile.h"
#include <Eigen/Dense>
#include <cmath>
#include <numeric>

using namespace mlir;
using namespace moe;
namespace json = llvm::json;

namespace {
using Matrix =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// The matrices of one expert, as f32.
struct Weights {
  Matrix gate, up, down;
  Eigen::VectorXf gateBias, upBias, downBias; // empty where absent
};

/// What a layer may hold in memory at once.
constexpr int64_t mostBytes = int64_t(1) << 30;
constexpr Eigen::Index mostRows = 256;

json::Array flat(const Eigen::MatrixXd &matrix) {
  json::Array out;
  for (Eigen::Index i = 0; i < matrix.rows(); ++i)
    for (Eigen::Index j = 0; j < matrix.cols(); ++j)
      out.push_back(std::round(matrix(i, j) * 1e4) / 1e4);
  return out;
}

/// Numbers below the diagonal.
std::vector<double> pairs(const Eigen::MatrixXd &matrix) {
  std::vector<double> out;
  for (Eigen::Index i = 1; i < matrix.rows(); ++i)
    for (Eigen::Index j = 0; j < i; ++j)
      out.push_back(matrix(i, j));
  return out;
}

double mean(ArrayRef<double> values) {
  return values.empty() ? 0
                        : std::accumulate(values.begin(), values.end(), 0.0) /
                              static_cast<double>(values.size());
}

/// R^2 of the linear fit of one to the other.
double fit(ArrayRef<double> x, ArrayRef<double> y) {
  double mx = mean(x), my = mean(y), xy = 0, xx = 0, yy = 0;
  for (auto [a, b] : llvm::zip(x, y)) {
    xy += (a - mx) * (b - my);
    xx += (a - mx) * (a - mx);
    yy += (b - my) * (b - my);
  }
  return xx > 0 && yy > 0 ? xy * xy / (xx * yy) : 0;
}

/// Cosines from products.
Eigen::MatrixXd cosines(const Eigen::MatrixXd &products) {
  Eigen::VectorXd norms = products.diagonal().cwiseMax(0).cwiseSqrt();
  Eigen::MatrixXd out = products;
  for (Eigen::Index i = 0; i < out.rows(); ++i)
    for (Eigen::Index j = 0; j < out.cols(); ++j) {
      double norm = norms(i) * norms(j);
      out(i, j) = norm > 0 ? std::clamp(out(i, j) / norm, -1.0, 1.0) : i == j;
    }
  return out;
}

/// Reads weights of experts and routers through banks.
class Reader {
public:
  explicit Reader(WeightSource &source) : source(source) {}

  /// A slice as `[out, in]` numbers, quantised ones dequantised.
  FailureOr<Matrix> matrix(Operation *at, SliceAttr slice) {
    FailureOr<Numbers> numbers = evaluate(at, slice, source);
    if (failed(numbers))
      return failure();
    Matrix out(numbers->rows, numbers->columns);
    llvm::transform(numbers->values, out.data(),
                    [](double v) { return static_cast<float>(v); });
    return out;
  }

  LogicalResult read(ExpertOp expert, Weights &to) {
    auto take = [&](Attribute from, Matrix &matrix) {
      auto slice = dyn_cast_or_null<SliceAttr>(from);
      if (!slice)
        return LogicalResult::success(!from);
      FailureOr<Matrix> read = this->matrix(expert, slice);
      if (succeeded(read))
        matrix = std::move(*read);
      return LogicalResult(read);
    };
    auto takeVector = [&](Attribute from, Eigen::VectorXf &vector) {
      Matrix matrix;
      LogicalResult taken = take(from, matrix);
      vector = Eigen::Map<Eigen::VectorXf>(matrix.data(), matrix.size());
      return taken;
    };
    return success(
        succeeded(take(expert.getGateAttr(), to.gate)) &&
        succeeded(take(expert.getUp(), to.up)) &&
        succeeded(take(expert.getDownAttr(), to.down)) &&
        succeeded(takeVector(expert.getGateBiasAttr(), to.gateBias)) &&
        succeeded(takeVector(expert.getUpBiasAttr(), to.upBias)) &&
        succeeded(takeVector(expert.getDownBiasAttr(), to.downBias)));
  }

  /// The rows `[E, H]` of a linear router, or nothing.
  std::optional<Matrix> router(RouterOp router) {
    if (router.getKind() != RouterKind::Linear || !router.getWeight())
      return std::nullopt;
    Value value = router.getWeight();
    Matrix rows;
    if (auto weight = value.getDefiningOp<WeightOp>()) {
      FailureOr<Matrix> read =
          matrix(weight, SliceAttr::get(weight.getBankAttr()));
      if (failed(read))
        return std::nullopt;
      rows = std::move(*read);
    } else {
      DenseElementsAttr numbers;
      if (!matchPattern(value, m_Constant(&numbers)) ||
          !isa<FloatType>(numbers.getElementType()) ||
          numbers.getType().getRank() != 2)
        return std::nullopt;
      rows.resize(numbers.getType().getDimSize(0),
                  numbers.getType().getDimSize(1));
      for (auto [i, number] : llvm::enumerate(numbers.getValues<APFloat>())) {
        APFloat narrow = number;
        bool lost;
        narrow.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven,
                       &lost);
        rows.data()[i] = narrow.convertToFloat();
      }
    }
    if (router.getTransposed())
      rows.transposeInPlace();
    return rows;
  }

private:
  WeightSource &source;
};

/// The expert on every row of x.
Matrix run(ExpertOp expert, const Weights &w, const Matrix &x) {
  auto product = [](const Matrix &rows, const Matrix &weight,
                    const Eigen::VectorXf &bias) {
    Matrix out = rows * weight.transpose();
    if (bias.size())
      out.rowwise() += bias.transpose();
    return out;
  };
  double limit = expert.getLimit().convertToDouble();
  double alpha = expert.getAlpha().convertToDouble();
  auto bend = [&](float v) {
    if (limit > 0)
      v = std::min(v, static_cast<float>(limit));
    return static_cast<float>(activate(expert.getActivation(), alpha, v));
  };
  Matrix inner = product(x, w.up, w.upBias);
  if (expert.isGlu()) {
    Matrix gate = product(x, w.gate, w.gateBias).unaryExpr(bend);
    if (limit > 0)
      inner = inner.cwiseMax(static_cast<float>(-limit))
                  .cwiseMin(static_cast<float>(limit));
    inner.array() += static_cast<float>(expert.getBeta().convertToDouble());
    inner = inner.cwiseProduct(gate);
  } else {
    inner = inner.unaryExpr(bend);
  }
  return product(inner, w.down, w.downBias) *
         static_cast<float>(expert.getOutputScale().convertToDouble());
}

/// The positions of values from the largest on; the first of equals first.
std::vector<Eigen::Index> ranks(const Eigen::VectorXf &values) {
  std::vector<Eigen::Index> order(values.size()), place(values.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](auto a, auto b) {
    return values(a) != values(b) ? values(a) > values(b) : a < b;
  });
  for (size_t i = 0; i < order.size(); ++i)
    place[order[i]] = static_cast<Eigen::Index>(i);
  return place;
}

/// One layer whose experts are plain FFNs or GLUs of one shape.
class Layer {
public:
  Layer(ArrayRef<ExpertOp> experts, Reader &reader)
      : experts(experts), reader(reader),
        n(static_cast<Eigen::Index>(experts.size())) {}

  /// Reads each expert once; false where one cannot be read.
  bool load() {
    weights.resize(experts.size());
    for (auto [expert, to] : llvm::zip(experts, weights))
      if (failed(reader.read(expert, to)))
        return false;
    return true;
  }

  Eigen::MatrixXd products(Matrix Weights::*which) const {
    Eigen::MatrixXd out(n, n);
    for (Eigen::Index i = 0; i < n; ++i)
      for (Eigen::Index j = 0; j <= i; ++j)
        out(i, j) = out(j, i) =
            (weights[i].*which).cwiseProduct(weights[j].*which).sum();
    return out;
  }

  void compareWeights(const std::optional<Matrix> &router,
                      json::Object &out) const {
    Eigen::MatrixXd all = Eigen::MatrixXd::Zero(n, n);
    Eigen::MatrixXd rows;
    if (router && router->rows() == n) {
      rows = cosines((*router * router->transpose()).cast<double>());
      out["router"] = flat(rows);
    }
    json::Array fits;
    auto add = [&](StringRef name, const Eigen::MatrixXd &products) {
      Eigen::MatrixXd similar = cosines(products);
      json::Object entry{{"matrix", name}, {"mean", mean(pairs(similar))}};
      if (rows.size())
        entry["r2"] = fit(pairs(rows), pairs(similar));
      fits.push_back(std::move(entry));
      return similar;
    };
    for (auto [name, which] :
         {std::pair("gate", &Weights::gate), std::pair("up", &Weights::up),
          std::pair("down", &Weights::down)}) {
      if (!(weights[0].*which).size())
        continue;
      Eigen::MatrixXd some = products(which);
      add(name, some);
      all += some;
    }
    out["weights"] = flat(add("all", all));
    out["fits"] = std::move(fits);
  }

  void compareOutputs(const Matrix &x, const std::optional<Matrix> &router,
                      json::Object &out) const {
    std::vector<Matrix> outputs; // rows of unit length
    Eigen::MatrixXf norms(x.rows(), n);
    for (Eigen::Index e = 0; e < n; ++e) {
      ExpertOp expert = experts[e];
      Matrix y = run(expert, weights[e], x);
      norms.col(e) = y.rowwise().norm();
      for (Eigen::Index t = 0; t < y.rows(); ++t)
        if (norms(t, e) > 0)
          y.row(t) /= norms(t, e);
      outputs.push_back(std::move(y));
    }
    Eigen::MatrixXd similar(n, n);
    for (Eigen::Index i = 0; i < n; ++i)
      for (Eigen::Index j = 0; j <= i; ++j)
        similar(i, j) = similar(j, i) =
            outputs[i].cwiseProduct(outputs[j]).sum() /
            static_cast<double>(x.rows());
    out["outputs"] = flat(similar);
    out["rows"] = static_cast<int64_t>(x.rows());
    if (!router || router->rows() != n || router->cols() != x.cols())
      return;
    Matrix logits = x * router->transpose();
    Eigen::MatrixXd table = Eigen::MatrixXd::Zero(n, n);
    for (Eigen::Index t = 0; t < x.rows(); ++t) {
      std::vector<Eigen::Index> chosen = ranks(logits.row(t)),
                                large = ranks(norms.row(t));
      for (Eigen::Index e = 0; e < n; ++e)
        ++table(chosen[e], large[e]);
    }
    out["ranks"] = flat(table);
  }

private:
  ArrayRef<ExpertOp> experts;
  Reader &reader;
  Eigen::Index n;
  std::vector<Weights> weights;
};

/// The first rows of the sample: its keys are random, so it is one itself.
std::optional<Matrix> sampleOf(const rt::ProfileLayer *layer) {
  const rt::ProfileTensor *sample = layer ? layer->find("sample") : nullptr;
  if (!sample || !sample->shape[0])
    return std::nullopt;
  return Matrix(Eigen::Map<const Matrix>(
      sample->as<float>(), std::min<Eigen::Index>(sample->shape[0], mostRows),
      sample->shape[1]));
}

json::Object describe(ApplyOp apply, const rt::Profile &profile, Reader &reader,
                      SymbolTableCollection &symbols) {
  json::Object out;
  auto gate = apply.getWeights().empty()
                  ? GateOp()
                  : apply.getWeights()[0].getDefiningOp<GateOp>();
  // The name that choices are counted under.
  StringRef name =
      gate ? gate.getLayer().value_or("moe") : apply.getLayer().value_or("moe");
  out["layer"] = name.str();
  PoolOp pool = PoolOp::lookup(apply, apply.getPoolAttr(), symbols);
  SmallVector<ExpertOp> experts =
      pool ? pool.getUniformExperts(symbols) : SmallVector<ExpertOp>();
  auto refuse = [&](StringRef why) {
    out["note"] = why;
    return std::move(out);
  };
  if (experts.empty() || (experts[0].getKind() != ExpertKind::Ffn &&
                          experts[0].getKind() != ExpertKind::Glu))
    return refuse("its experts are quantised, or differ in shape or kind");
  auto shape = experts[0].getShape(symbols);
  if (failed(shape))
    return refuse("its experts cannot be read");
  int64_t matrices = experts[0].isGlu() ? 3 : 2;
  int64_t numbers =
      shape->in * shape->hidden * matrices + mostRows * shape->out;
  out["experts"] = static_cast<int64_t>(experts.size());
  if (numbers > mostBytes / 4 / static_cast<int64_t>(experts.size()))
    return refuse("its experts are larger than 1 GiB together");
  Layer layer(experts, reader);
  if (!layer.load())
    return refuse("its experts cannot be read");
  auto router = gate ? gate.getLogits().getDefiningOp<RouterOp>() : RouterOp();
  std::optional<Matrix> rows = router ? reader.router(router) : std::nullopt;
  layer.compareWeights(rows, out);
  std::optional<Matrix> sample = sampleOf(profile.find(name));
  if (sample && sample->cols() == shape->in)
    layer.compareOutputs(*sample, rows, out);
  return out;
}
} // namespace

json::Array moe::expertSimilarity(ModuleOp module, WeightSource &weights,
                                  const rt::Profile &profile) {
  json::Array layers;
  SymbolTableCollection symbols;
  Reader reader(weights);
  SmallVector<ApplyOp> applies;
  module.walk([&](ApplyOp apply) { applies.push_back(apply); });
  for (ApplyOp apply : applies)
    layers.push_back(describe(apply, profile, reader, symbols));
  return layers;
}

#include "runtime/Core/Measures.h"

#include "runtime/Core/Model.h"
#include "runtime/Core/Tensor.h"

#include <algorithm>
#include <cmath>

namespace moe::rt {
namespace {

/// No sum is larger: 4 GB of f64.
constexpr int64_t mostSums = int64_t(1) << 29;

int64_t columnsOf(const moert_tensor &tensor) {
  return tensor.rank ? tensor.shape[tensor.rank - 1] : 1;
}

int64_t rowsOf(const moert_tensor &tensor) {
  int64_t rows = 1;
  for (int32_t d = 0; d + 1 < tensor.rank; ++d)
    rows *= tensor.shape[d];
  return rows;
}

/// The rows of a tensor, one at a time, in f64.
class Rows {
public:
  explicit Rows(const moert_tensor &tensor)
      : tensor(tensor), row(columnsOf(tensor)) {}

  const double *operator[](int64_t index) {
    int64_t columns = static_cast<int64_t>(row.size());
    if (tensor.dtype == MOERT_F32) {
      const float *from =
          static_cast<const float *>(tensor.data) + index * columns;
      std::copy(from, from + columns, row.begin());
    } else {
      for (int64_t i = 0; i < columns; ++i)
        row[i] =
            elementAsDouble(tensor.data, tensor.dtype, index * columns + i);
    }
    return row.data();
  }
  int64_t columns() const { return static_cast<int64_t>(row.size()); }

private:
  const moert_tensor &tensor;
  std::vector<double> row;
};

const int32_t *idsOf(const moert_tensor &ids, int64_t row) {
  return static_cast<const int32_t *>(ids.data) + row * columnsOf(ids);
}

/// sums += row^T row
void addGram(std::vector<double> &sums, const double *row, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      sums[i * n + j] += row[i] * row[j];
}

double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += a[i] * b[i];
  return sum;
}

/// Zeros where there is nothing yet.
template <typename T>
void prepare(std::vector<T> &sums, int64_t size) {
  if (sums.empty())
    sums.resize(size);
}

} // namespace

void LayerMeasures::count(const int32_t *ids, int64_t n, int64_t experts) {
  if (counts.size() < static_cast<size_t>(experts))
    counts.resize(experts);
  for (int64_t i = 0; i < n; ++i)
    if (ids[i] >= 0 && ids[i] < experts)
      ++counts[ids[i]];
}

Code LayerMeasures::add(int32_t measure, int32_t score, int64_t experts,
                        const moert_tensor *values, int32_t count) {
  bool byExpert = measure == MOERT_CHOICE || measure == MOERT_LOGITS ||
                  measure == MOERT_INPUTS;
  bool byFeature = measure == MOERT_INPUTS || measure == MOERT_INPUT_GRAM;
  if (byExpert && this->experts && this->experts != experts)
    return Code::InvalidArgument;
  if (byFeature && width && width != columnsOf(values[0]))
    return Code::InvalidArgument;
  if (byExpert)
    this->experts = experts;
  if (byFeature)
    width = columnsOf(values[0]);
  int64_t sums = 1;
  int64_t outer = measure == MOERT_INPUT_GRAM ? width : experts;
  int64_t inner = byFeature ? width : experts;
  bool needsSquare = byExpert || byFeature;
  if (needsSquare &&
      (__builtin_mul_overflow(outer, inner, &sums) || sums > mostSums))
    return Code::OutOfMemory;
  switch (measure) {
  case MOERT_CHOICE:
    addChoice(values[0], count > 1 ? &values[1] : nullptr);
    break;
  case MOERT_LOGITS:
    addLogits(values[0], score);
    break;
  case MOERT_INPUTS:
    addInputs(values[0], values[1]);
    break;
  case MOERT_INPUT_GRAM:
    addInputGram(values[0]);
    break;
  case MOERT_SUBLAYER_COSINE:
    addCosine(values[0], values[1], sublayerCosine);
    break;
  case MOERT_BLOCK_COSINE:
    addCosine(values[0], values[1], blockCosine);
    break;
  case MOERT_OUTPUTS:
    addOutputs(values[0]);
    break;
  default: // of a newer minor version
    break;
  }
  return Code::Ok;
}

void LayerMeasures::addChoice(const moert_tensor &ids,
                              const moert_tensor *weights) {
  int64_t rows = rowsOf(ids), k = columnsOf(ids);
  count(static_cast<const int32_t *>(ids.data), rows * k, experts);
  prepare(tokens, 1);
  tokens[0] += rows;
  if (!weights)
    return;
  prepare(weightSum, experts);
  prepare(ratios, 1025);
  prepare(coactivation, experts * experts);
  auto isExpert = [&](int32_t id) { return id >= 0 && id < experts; };
  Rows all(*weights);
  for (int64_t t = 0; t < rows; ++t) {
    const int32_t *chosen = idsOf(ids, t);
    const double *w = all[t];
    double first = 0, second = 0;
    for (int64_t a = 0; a < k; ++a) {
      if (!isExpert(chosen[a]))
        continue;
      weightSum[chosen[a]] += w[a];
      second = std::max(second, std::min(first, w[a]));
      first = std::max(first, w[a]);
      for (int64_t b = 0; b < k; ++b)
        if (isExpert(chosen[b]))
          ++coactivation[chosen[a] * experts + chosen[b]];
    }
    // One expert, or none, has no ratio.
    if (k > 1 && first > 0 && std::isfinite(first))
      ++ratios[static_cast<int64_t>(second / first * 1024)];
  }
}

void LayerMeasures::addLogits(const moert_tensor &logits, int32_t score) {
  prepare(scoreSum, experts);
  prepare(logitSum, experts);
  prepare(logitGram, experts * experts);
  Rows all(logits);
  if (all.columns() != experts)
    return;
  std::vector<double> scores(experts);
  for (int64_t t = 0, rows = rowsOf(logits); t < rows; ++t) {
    const double *z = all[t];
    double most = *std::max_element(z, z + experts), sum = 0;
    for (int64_t e = 0; e < experts; ++e) {
      scores[e] = score == MOERT_SCORE_SOFTMAX   ? std::exp(z[e] - most)
                  : score == MOERT_SCORE_SIGMOID ? 1 / (1 + std::exp(-z[e]))
                                                 : z[e];
      sum += scores[e];
    }
    if (score != MOERT_SCORE_SOFTMAX)
      sum = 1;
    for (int64_t e = 0; e < experts; ++e) {
      scoreSum[e] += scores[e] / sum;
      logitSum[e] += z[e];
    }
    addGram(logitGram, z, experts);
  }
}

void LayerMeasures::addInputs(const moert_tensor &x, const moert_tensor &ids) {
  prepare(inputSquareSum, experts * width);
  if (!sampled)
    sample = Sample(seed, width);
  sampled = true;
  Rows all(x);
  std::vector<float> narrow(width);
  for (int64_t t = 0, rows = rowsOf(x); t < rows; ++t) {
    const double *row = all[t];
    const int32_t *chosen = idsOf(ids, t);
    for (int64_t j = 0, k = columnsOf(ids); j < k; ++j) {
      if (chosen[j] < 0 || chosen[j] >= experts)
        continue;
      double *sums = inputSquareSum.data() + chosen[j] * width;
      for (int64_t i = 0; i < width; ++i)
        sums[i] += row[i] * row[i];
    }
    std::transform(row, row + width, narrow.begin(),
                   [](double v) { return static_cast<float>(v); });
    sample.add(narrow.data());
  }
}

void LayerMeasures::addInputGram(const moert_tensor &x) {
  prepare(inputGram, width * width);
  Rows all(x);
  for (int64_t t = 0, rows = rowsOf(x); t < rows; ++t)
    addGram(inputGram, all[t], width);
}

void LayerMeasures::addCosine(const moert_tensor &a, const moert_tensor &b,
                              Sums &sums) {
  prepare(sums, 2);
  Rows before(a), after(b);
  int64_t n = columnsOf(a);
  for (int64_t t = 0, rows = rowsOf(a); t < rows; ++t) {
    const double *x = before[t], *y = after[t];
    double norms = std::sqrt(dot(x, x, n)) * std::sqrt(dot(y, y, n));
    sums[0] += norms > 0 ? dot(x, y, n) / norms : 0;
    sums[1] += 1;
  }
}

void LayerMeasures::addOutputs(const moert_tensor &y) {
  prepare(outputNormSum, 1);
  prepare(outputSquareSum, 1);
  Rows all(y);
  for (int64_t t = 0, rows = rowsOf(y); t < rows; ++t) {
    const double *row = all[t];
    double square = dot(row, row, all.columns());
    outputNormSum[0] += std::sqrt(square);
    outputSquareSum[0] += square;
  }
}

void LayerMeasures::list(std::vector<moe_layer_measure> &out) {
  auto put = [&](const char *what, const auto &values, int32_t dtype,
                 int64_t rows, int64_t columns) {
    moe_layer_measure measure = {name, what, {}};
    measure.value.data =
        const_cast<void *>(static_cast<const void *>(values.data()));
    measure.value.dtype = dtype;
    measure.value.rank = columns ? 2 : 1;
    measure.value.shape[0] = rows;
    measure.value.shape[1] = columns;
    out.push_back(measure);
  };
  auto vector = [&](const char *what, const auto &values, int32_t dtype) {
    if (!values.empty())
      put(what, values, dtype, static_cast<int64_t>(values.size()), 0);
  };
  auto matrix = [&](const char *what, const auto &values, int32_t dtype,
                    int64_t columns) {
    if (!values.empty())
      put(what, values, dtype, static_cast<int64_t>(values.size()) / columns,
          columns);
  };
  vector("counts", counts, MOE_I64);
  vector("tokens", tokens, MOE_I64);
  vector("score_sum", scoreSum, MOE_F64);
  vector("weight_sum", weightSum, MOE_F64);
  vector("ratio_histogram", ratios, MOE_I64);
  vector("logit_sum", logitSum, MOE_F64);
  matrix("logit_gram", logitGram, MOE_F64, experts);
  matrix("coactivation", coactivation, MOE_I64, experts);
  matrix("input_square_sum", inputSquareSum, MOE_F64, width);
  matrix("input_gram", inputGram, MOE_F64, width);
  vector("sublayer_cosine", sublayerCosine, MOE_F64);
  vector("block_cosine", blockCosine, MOE_F64);
  vector("output_norm_sum", outputNormSum, MOE_F64);
  vector("output_square_sum", outputSquareSum, MOE_F64);
  if (!sampled)
    return;
  sample.write(sampleKeys, sampleRows);
  put("sample", sampleRows, MOE_F32, sample.size(), width);
  put("sample_keys", sampleKeys, MOE_U64, sample.size(), 0);
}

} // namespace moe::rt

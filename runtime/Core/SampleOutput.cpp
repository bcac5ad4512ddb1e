// Tokens from an output of a session.
#include "runtime/Core/ChooseToken.h"
#include "runtime/Core/Session.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <algorithm>
#include <cmath>

namespace moe::rt {
namespace {

/// Logits as an output has them: rows of all tokens of each sequence.
struct LogitShape {
  int64_t width, rowsOfEach, sequences;

  /// The first number of the last row of a sequence.
  int64_t lastRow(int64_t sequence) const {
    return ((sequence + 1) * rowsOfEach - 1) * width;
  }
};

Result<LogitShape> shapeOf(const char *name, const moe_tensor &output,
                           uint32_t sequences) {
  auto wrong = [&](const std::string &why) -> Status {
    return {Code::InvalidArgument,
            text("output ", quote(name), " is ", dtypeName(output.dtype), " ",
                 shapeText(output.shape, output.rank), why)};
  };
  if (!isFloat(output.dtype) || output.rank < 1)
    return wrong(", logits are floats [..., vocabulary]");
  int64_t width = output.shape[output.rank - 1];
  int64_t count = *elementCount(output.shape, output.rank);
  if (!count || count / width % sequences)
    return wrong(text(", which is no row of logits, or as many as another, for "
                      "each of ",
                      sequences, " sequences"));
  return LogitShape{width, count / width / sequences, sequences};
}

Status checkSampling(const moe_sampling &sampling, uint32_t sequences) {
  if (!(sampling.temperature >= 0) || std::isinf(sampling.temperature))
    return {Code::InvalidArgument,
            text("the temperature of sampling is a number from 0 on, not ",
                 number(sampling.temperature))};
  if (sampling.temperature == 0)
    return {};
  if (!sampling.uniform)
    return {Code::InvalidArgument,
            "sampling with a temperature needs random numbers"};
  for (uint32_t s = 0; s < sequences; ++s)
    if (!(sampling.uniform[s] >= 0 && sampling.uniform[s] < 1))
      return {Code::InvalidArgument,
              text("random numbers are from 0 to below 1, not ",
                   number(sampling.uniform[s]))};
  return {};
}

} // namespace

Status Session::sample(const char *name, const moe_sampling &sampling,
                       int64_t *tokens) {
  uint32_t sequences = std::max(sampling.sequences, 1u);
  Result<uint32_t> index = findOutput(name);
  if (!index)
    return index.error();
  Result<LogitShape> shape = shapeOf(name, outputs[*index], sequences);
  if (!shape)
    return shape.error();
  if (Status status = checkSampling(sampling, sequences); !status.ok())
    return status;
  // The same on a device as here.
  bool isRandom = sampling.temperature > 0;
  std::vector<float> uniform(sequences);
  for (uint32_t s = 0; s < sequences && isRandom; ++s)
    uniform[s] = std::min(static_cast<float>(sampling.uniform[s]),
                          std::nextafter(1.0f, 0.0f));

  const moe_tensor &there = outputs[*index];
  const void *device =
      caches.holds(*index) ? nullptr : runContext.onDevice(there.data);
  if (device && runContext.offload->canSample(there.dtype)) {
    auto topK = static_cast<int64_t>(std::min(
        sampling.top_k ? sampling.top_k : UINT64_MAX, uint64_t(shape->width)));
    size_t size = elementSize(there.dtype);
    LogitRows rows = {static_cast<const char *>(device) +
                          size * static_cast<size_t>(shape->lastRow(0)),
                      there.dtype, shape->width,
                      shape->rowsOfEach * shape->width, shape->sequences};
    TokenChoice choice = {isRandom ? topK : 1,
                          isRandom ? static_cast<float>(sampling.temperature)
                                   : 1,
                          uniform.data()};
    std::unique_lock<std::mutex> turn = takeTurn();
    Status status = runContext.offload->sample(rows, choice, tokens,
                                               runContext.recorder.ifPhases());
    if (!status.ok())
      return status;
  } else {
    Result<moe_tensor> here = outputAt(*index);
    if (!here)
      return here.error();
    std::vector<double> row(static_cast<size_t>(shape->width));
    for (int64_t s = 0; s < shape->sequences; ++s) {
      for (int64_t i = 0; i < shape->width; ++i)
        row[i] =
            elementAsDouble(here->data, here->dtype, shape->lastRow(s) + i);
      tokens[s] = chooseToken(row.data(), shape->width, sampling.temperature,
                              sampling.top_k, uniform[s]);
    }
  }
  for (int64_t s = 0; s < shape->sequences; ++s)
    if (Status status = checkChosen(tokens[s]); !status.ok())
      return status;
  return {};
}

} // namespace moe::rt

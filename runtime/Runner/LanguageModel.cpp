#include "runtime/Runner/LanguageModel.h"

#include "runtime/Core/ChooseToken.h"
#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <cstddef>
#include <cstring>

namespace moe::rt {

Result<std::unique_ptr<LanguageModel>> LanguageModel::create(Program &program) {
  Status status = checkRoles(program);
  if (!status.ok())
    return status;
  std::unique_ptr<LanguageModel> model(new LanguageModel(program));
  model->roles = findRoles(program);
  status = model->check();
  if (!status.ok())
    return status;
  auto given = loadInputs(program);
  if (!given)
    return given.error();
  model->given = std::move(*given);
  for (const std::string &name : model->roles.others) {
    bool known = false;
    for (const Array &array : model->given)
      known |= array.name == name;
    if (!known)
      return {Code::InvalidArgument,
              text("cannot tell what input ", quote(name), " (",
                   portText(*program.findInput(name)),
                   ") is for: give it with --input, or say --role ",
                   printable(name), "=tokens|positions|mask")};
  }
  for (const auto &[past, present] : model->roles.caches) {
    status = program.check(
        program.api->feed_back(program.session, present.c_str(), past.c_str()));
    if (!status.ok())
      return status;
  }
  return model;
}

Status LanguageModel::check() {
  if (roles.tokens.empty())
    return {Code::InvalidArgument,
            "this is no language model: it has no integer input [batch, seq] "
            "for tokens; --role NAME=tokens names one"};
  if (roles.logits.empty())
    return {Code::InvalidArgument,
            "this is no language model: it has no float output [batch, seq, "
            "vocabulary] for logits; --role NAME=logits names one"};
  if (roles.vocabulary && roles.vocabulary != vocabulary)
    return {Code::Unsupported,
            text("--generate and --eval need a byte vocabulary of 256 tokens, "
                 "output ",
                 quote(roles.logits), " has ", roles.vocabulary)};
  tokensPort = program.findInput(roles.tokens);
  if (!isInteger(tokensPort->dtype) || tokensPort->rank < 1 ||
      tokensPort->rank > 2)
    return {Code::InvalidArgument,
            text("input ", quote(roles.tokens), " is ", portText(*tokensPort),
                 ", tokens must be integers [batch, seq]")};
  return {};
}

int64_t LanguageModel::fixedBatch() const {
  return tokensPort->rank == 1 ? 1 : tokensPort->dims[0];
}

int64_t LanguageModel::fixedSequence() const {
  return tokensPort->dims[tokensPort->rank - 1];
}

Status LanguageModel::begin(int64_t newBatch) {
  batch = newBatch;
  past = 0;
  program.api->reset(program.session);
  for (const auto &cache : roles.caches) {
    const moe_port &port = *program.findInput(cache.first);
    int32_t growing =
        growingAxis(port, *program.findOutput(cache.second), tokensPort);
    moe_tensor empty = {};
    empty.dtype = port.dtype;
    empty.rank = port.rank;
    for (int32_t i = 0; i < port.rank; ++i) {
      if (port.dims[i] >= 0) {
        empty.shape[i] = port.dims[i];
      } else if (isBatchAxis(port, i, tokensPort)) {
        empty.shape[i] = batch;
      } else if (i != growing) {
        // A free feature size, as some exporters leave it.
        int64_t size = program.options.sizeOf(port.dim_names[i]);
        if (size < 0)
          return {Code::InvalidArgument,
                  text("input ", quote(port.name), " is ", portText(port),
                       ": give the size with --dim ",
                       printable(port.dim_names[i]), "=N")};
        empty.shape[i] = size;
      }
    }
    Status status = program.setInput(cache.first, empty);
    if (!status.ok())
      return status;
  }
  return {};
}

Status LanguageModel::setFilled(const std::string &name,
                                std::vector<char> &bytes, int64_t rows,
                                int64_t columns,
                                double (*value)(int64_t, int64_t,
                                                const uint8_t *, int64_t),
                                const uint8_t *tokens) {
  if (name.empty())
    return {};
  const moe_port &port = *program.findInput(name);
  moe_tensor tensor = {};
  tensor.dtype = port.dtype;
  tensor.rank = port.rank;
  if (port.rank == 1)
    rows = 1;
  tensor.shape[0] = port.rank == 1 ? columns : rows;
  tensor.shape[1] = columns;
  bytes.resize(static_cast<size_t>(rows * columns) * elementSize(port.dtype));
  for (int64_t i = 0; i < rows * columns; ++i)
    setElement(bytes.data(), port.dtype, i,
               value(i % columns, past, tokens, i));
  tensor.data = bytes.data();
  return program.setInput(name, tensor);
}

Status LanguageModel::step(const uint8_t *tokens, int64_t seq) {
  auto tokenAt = [](int64_t, int64_t, const uint8_t *tokens, int64_t flat) {
    return static_cast<double>(tokens[flat]);
  };
  auto position = [](int64_t column, int64_t past, const uint8_t *, int64_t) {
    return static_cast<double>(past + column);
  };
  auto one = [](int64_t, int64_t, const uint8_t *, int64_t) { return 1.0; };
  Status status =
      setFilled(roles.tokens, tokenBytes, batch, seq, tokenAt, tokens);
  if (status.ok())
    status =
        setFilled(roles.positions, positionBytes, batch, seq, position, tokens);
  if (status.ok())
    status = setFilled(roles.mask, maskBytes, batch, past + seq, one, tokens);
  if (status.ok())
    status = program.run();
  if (!status.ok())
    return status;
  if (hasCache())
    past += seq;
  stepLength = seq;
  return {};
}

Result<moe_tensor> LanguageModel::logits() {
  Result<moe_tensor> logits = program.output(roles.logits);
  if (!logits)
    return logits;
  // Leading sizes may be left out: make it [batch, n, vocabulary].
  moe_tensor all = *logits;
  int64_t count = *elementCount(all.shape, all.rank);
  if (all.rank < 1 || all.shape[all.rank - 1] != vocabulary || !batch ||
      count % (batch * vocabulary) || !count ||
      count / (batch * vocabulary) > stepLength)
    return {Code::InvalidArgument,
            text("output ", quote(roles.logits), " is ",
                 shapeText(all.shape, all.rank), ", must be [", batch, ", ",
                 stepLength, ", ", vocabulary, "]")};
  all.rank = 3;
  all.shape[0] = batch;
  all.shape[1] = count / (batch * vocabulary);
  all.shape[2] = vocabulary;
  return all;
}

Result<int64_t> LanguageModel::nextToken(Random &random) {
  const Options &options = program.options;
  double uniform = options.temperature > 0 ? random.unit() : 0;
  // Of a free width nobody has seen yet whether it is one of bytes.
  if (!roles.vocabulary && !isWidthKnown) {
    Result<moe_tensor> all = logits();
    if (!all)
      return all.error();
    isWidthKnown = true;
  }
  int64_t token = 0;
  const moe_api &api = *program.api;
  if (api.size >= offsetof(moe_api, sample) + sizeof api.sample) {
    moe_sampling sampling = {};
    sampling.size = sizeof sampling;
    sampling.sequences = 1;
    sampling.temperature = options.temperature;
    sampling.top_k = options.topK;
    sampling.uniform = &uniform;
    Status status = program.check(
        api.sample(program.session, roles.logits.c_str(), &sampling, &token));
    if (!status.ok())
      return status;
  } else { // a library of an earlier version
    Result<moe_tensor> all = logits();
    if (!all)
      return all.error();
    double row[vocabulary];
    for (int64_t v = 0; v < vocabulary; ++v)
      row[v] = elementAsDouble(all->data, all->dtype,
                               (all->shape[1] - 1) * vocabulary + v);
    token = chooseToken(row, vocabulary, options.temperature, options.topK,
                        uniform);
    if (Status status = checkChosen(token); !status.ok())
      return status;
  }
  if (token >= vocabulary)
    return {Code::Unsupported,
            text("the model chose token ", token, ", there are bytes below ",
                 vocabulary, " alone")};
  return token;
}

} // namespace moe::rt

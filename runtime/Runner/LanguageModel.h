// A program whose model continues token sequences.
#ifndef MOE_RUNTIME_RUNNER_LANGUAGEMODEL_H
#define MOE_RUNTIME_RUNNER_LANGUAGEMODEL_H

#include "runtime/Runner/Program.h"
#include "runtime/Runner/Random.h"
#include "runtime/Runner/Roles.h"

#include <memory>
#include <vector>

namespace moe::rt {

/// Feeds bytes to a model with a byte vocabulary (token id = byte value, 256 of
/// them) and hands out logits. Fills positions, mask and caches where the model
/// has them; a cache goes from output to input without a copy.
class LanguageModel {
public:
  /// Refuses models without tokens or logits, or of another vocabulary. Loads
  /// the files of --input for inputs it does not know.
  static Result<std::unique_ptr<LanguageModel>> create(Program &program);

  /// Starts `batch` empty sequences.
  Status begin(int64_t batch);

  /// Appends `seq` tokens to each sequence; `tokens` is [batch, seq]. Without a
  /// cache the model sees nothing but these tokens.
  Status step(const uint8_t *tokens, int64_t seq);
  /// Logits [batch, n, 256] for the last n tokens of the latest step, valid
  /// until the next; n is `seq` in most models, 1 in some.
  Result<moe_tensor> logits();
  /// The token that follows the only sequence, as options say. `random` is
  /// asked once where the temperature is not 0.
  Result<int64_t> nextToken(Random &random);

  bool hasCache() const { return !roles.caches.empty(); }
  /// Sizes the model insists on, or -1.
  int64_t fixedBatch() const;
  int64_t fixedSequence() const;

  static constexpr int64_t vocabulary = 256;

private:
  LanguageModel(Program &program) : program(program) {}
  Status check();
  Status setFilled(const std::string &name, std::vector<char> &bytes,
                   int64_t rows, int64_t columns,
                   double (*value)(int64_t column, int64_t past,
                                   const uint8_t *tokens, int64_t flat),
                   const uint8_t *tokens);

  Program &program;
  Roles roles;
  std::vector<Array> given;
  const moe_port *tokensPort = nullptr;
  int64_t batch = 0;
  int64_t past = 0;
  int64_t stepLength = 0;
  bool isWidthKnown = false;
  std::vector<char> tokenBytes, positionBytes, maskBytes;
};

} // namespace moe::rt

#endif // MOE_RUNTIME_RUNNER_LANGUAGEMODEL_H

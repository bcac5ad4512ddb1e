// --generate: continues a prompt.
#include "runtime/Core/Recorder.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/LanguageModel.h"
#include "runtime/Runner/Random.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

namespace moe::rt {
namespace {

/// Byte 0 separates documents: it starts an empty prompt and ends a text.
constexpr uint8_t separator = 0;

/// Shows bytes as they come. A terminal gets no control characters that could
/// change its state.
class Stream {
public:
  void write(uint8_t byte) {
    bool control =
        (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F;
    std::putchar(terminal && control ? '?' : byte);
    std::fflush(stdout);
  }

private:
  bool terminal = isatty(STDOUT_FILENO);
};

double perSecond(int64_t tokens, int64_t ns) {
  return static_cast<double>(tokens) * 1e9 /
         static_cast<double>(std::max<int64_t>(ns, 1));
}

} // namespace

Result<int> runGenerate(Program &program) {
  auto created = LanguageModel::create(program);
  if (!created)
    return created.error();
  LanguageModel &model = **created;
  if (model.fixedSequence() >= 0)
    return {Code::Unsupported,
            text("--generate needs a free sequence length, the model takes ",
                 model.fixedSequence(), " tokens")};
  if (model.fixedBatch() > 1)
    return {Code::Unsupported,
            text("--generate continues one text, the model takes ",
                 model.fixedBatch(), " at once")};
  Status status = model.begin(1);
  if (!status.ok())
    return status;
  std::vector<uint8_t> sequence(program.options.prompt.begin(),
                                program.options.prompt.end());
  if (sequence.empty())
    sequence.push_back(separator);
  Stream stream;
  for (char byte : program.options.prompt)
    stream.write(static_cast<uint8_t>(byte));
  Random random(program.options.seed);
  const int64_t promptLength = static_cast<int64_t>(sequence.size());
  int64_t seen = 0, generated = 0, promptNs = 0;
  int64_t start = monotonicNs();
  for (; generated < program.options.tokens; ++generated) {
    // With a cache only what is new, without one the text from its start.
    int64_t from = model.hasCache() ? seen : 0;
    int64_t length = static_cast<int64_t>(sequence.size());
    Status status = model.step(sequence.data() + from, length - from);
    if (!status.ok())
      return status;
    seen = length;
    Result<int64_t> token = model.nextToken(random);
    if (!token)
      return token.error();
    if (generated == 0)
      promptNs = monotonicNs() - start;
    if (*token == separator)
      break;
    sequence.push_back(static_cast<uint8_t>(*token));
    stream.write(static_cast<uint8_t>(*token));
  }
  int64_t total = monotonicNs() - start;
  if (isatty(STDOUT_FILENO))
    std::putchar('\n');
  std::fflush(stdout);
  std::fprintf(stderr, "prompt: %lld tokens, %.0f tokens/s",
               static_cast<long long>(promptLength),
               perSecond(promptLength, promptNs));
  if (generated > 1)
    std::fprintf(stderr, "; generated: %lld tokens, %.0f tokens/s",
                 static_cast<long long>(generated),
                 perSecond(generated - 1, total - promptNs));
  std::fprintf(stderr, "\n");
  return ExitDone;
}

} // namespace moe::rt

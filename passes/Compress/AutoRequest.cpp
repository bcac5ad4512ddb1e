#include "passes/Compress/AutoRequest.h"

#include "llvm/ADT/StringExtras.h"
#include <cmath>

using namespace llvm;
using namespace moe;

static Error wrong(const Twine &why) {
  return createStringError("--compress=auto: " + why +
                           "; auto{bytes=50%,max-loss=0.02} asks for half of "
                           "the bytes at a loss of 0.02 at most");
}

/// The options between the braces.
static Expected<StringRef> optionsOf(StringRef text) {
  text = text.ltrim();
  if (text.starts_with(","))
    return wrong("goes alone, without other steps");
  size_t end = text.find('}');
  if (!text.consume_front("{") || end == StringRef::npos)
    return wrong("needs {bytes=SHARE,max-loss=NUMBER}");
  if (!text.drop_front(end).trim().empty())
    return wrong("goes alone, without other steps");
  return text.take_front(end - 1);
}

Expected<std::optional<AutoRequest>> moe::parseAuto(StringRef text) {
  text = text.trim();
  if (!text.consume_front("auto") ||
      (!text.empty() && (isAlnum(text[0]) || text[0] == '-')))
    return std::nullopt;
  auto options = optionsOf(text);
  if (!options)
    return options.takeError();
  AutoRequest request;
  SmallVector<StringRef> words;
  SplitString(*options, words, ", \t");
  for (StringRef word : words) {
    auto [key, value] = word.split('=');
    bool isBytes = key == "bytes";
    if (!isBytes && key != "max-loss")
      return wrong("'" + key + "' is neither bytes nor max-loss");
    std::string &text = isBytes ? request.bytesText : request.maxLossText;
    if (!text.empty())
      return wrong("'" + key + "' is given twice");
    text = value.str();
    bool percent = value.consume_back("%");
    double number = 0;
    if (value.getAsDouble(number) || !std::isfinite(number) || number < 0)
      return wrong(key + " is a number that is not negative, not '" + text +
                   "'");
    (isBytes ? request.bytes : request.maxLoss) =
        percent ? number / 100 : number;
  }
  if (request.bytesText.empty() || request.maxLossText.empty())
    return wrong("needs both bytes and max-loss");
  if (!(request.bytes > 0 && request.bytes <= 1))
    return wrong("bytes is a share of the model's bytes, above 0 and at most "
                 "100%, not '" +
                 request.bytesText + "'");
  return request;
}

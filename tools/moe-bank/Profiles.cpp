#include "tools/moe-bank/Profiles.h"

#include "runtime/Core/Text.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

using namespace moe::rt;

namespace {

std::string fixed(const char *format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

/// "3 12.4 %, 7 9.9 %": the experts with most choices.
std::string topExperts(const std::vector<double> &counts) {
  double all = std::accumulate(counts.begin(), counts.end(), 0.0);
  std::vector<size_t> order(counts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return counts[a] > counts[b]; });
  std::string out;
  for (size_t i = 0; i < std::min<size_t>(3, order.size()) && all > 0; ++i)
    out += text(i ? ", " : "", order[i]) +
           fixed(" %.1f %%", 100 * counts[order[i]] / all);
  return out.empty() ? "-" : out;
}

/// The mean of what two sums hold, or "-".
std::string meanOf(const std::vector<double> &sums) {
  return sums.size() == 2 && sums[1] > 0 ? fixed("%.4f", sums[0] / sums[1])
                                         : "-";
}

std::vector<std::string> lineOf(const ProfileLayer &layer) {
  std::vector<double> counts = layer.numbers("counts"),
                      tokens = layer.numbers("tokens"),
                      scores = layer.numbers("score_sum");
  double rows = tokens.empty() ? 0 : tokens[0];
  auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  std::string spread = "-";
  if (!scores.empty() && rows > 0) {
    auto [low, high] = std::minmax_element(scores.begin(), scores.end());
    spread = fixed("%.4f", *low / rows) + " .. " + fixed("%.4f", *high / rows);
  }
  std::optional<double> ratio = layer.medianRatio();
  const ProfileTensor *sample = layer.find("sample");
  return {printable(layer.name),
          tokens.empty() ? "-" : fixed("%.0f", rows),
          std::to_string(counts.size()),
          counts.empty()
              ? "-"
              : fixed("%.0f", *least) + " .. " + fixed("%.0f", *most),
          topExperts(counts),
          spread,
          ratio ? fixed("%.3f", *ratio) : "-",
          meanOf(layer.numbers("sublayer_cosine")),
          meanOf(layer.numbers("block_cosine")),
          sample ? std::to_string(sample->shape[0]) : "-"};
}

} // namespace

void moe::listProfile(const Profile &profile) {
  std::printf("expert profile of model %s, fingerprint %s, seed %llu\n",
              quote(profile.model).c_str(),
              profile.fingerprint.empty()
                  ? "unknown"
                  : printable(profile.fingerprint).c_str(),
              static_cast<unsigned long long>(profile.seed));
  std::vector<std::vector<std::string>> lines = {
      {"layer", "tokens", "experts", "choices", "most chosen", "mean score",
       "median ratio", "layer cosine", "block cosine", "sample"}};
  for (const ProfileLayer &layer : profile.layers)
    lines.push_back(lineOf(layer));
  std::vector<size_t> widths(lines[0].size());
  for (const auto &line : lines)
    for (size_t i = 0; i < line.size(); ++i)
      widths[i] = std::max(widths[i], line[i].size());
  for (const auto &line : lines) {
    std::string out;
    for (size_t i = 0; i < line.size(); ++i)
      out += line[i] + std::string(widths[i] - line[i].size() + 2, ' ');
    out.erase(out.find_last_not_of(' ') + 1);
    std::printf("%s\n", out.c_str());
  }
}

Status moe::mergeProfiles(const std::string &output,
                          const std::vector<std::string> &inputs) {
  Result<Profile> sum = readProfile(inputs[0]);
  if (!sum)
    return sum.error();
  for (size_t i = 1; i < inputs.size(); ++i) {
    Result<Profile> more = readProfile(inputs[i]);
    if (!more)
      return more.error();
    Status status = addProfile(*sum, *more, inputs[i]);
    if (!status.ok())
      return status;
  }
  // Sums may have left the range of their type.
  Status status = checkProfile(*sum, "the sum of these profiles");
  return status.ok() ? writeProfile(*sum, output) : status;
}

#include "passes/Compress/AutoSearch.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"
#include <tuple>

using namespace llvm;
using namespace moe;

bool moe::isSimpler(const Candidate &a, const Candidate &b) {
  return std::make_tuple(a.steps.size(), StringRef(a.steps)) <
         std::make_tuple(b.steps.size(), StringRef(b.steps));
}

double AutoTrials::shareOf(const Candidate &candidate) const {
  return static_cast<double>(candidate.bytes) /
         static_cast<double>(std::max<int64_t>(originalBytes, 1));
}

bool AutoTrials::isOnFront(const Candidate &candidate) const {
  return llvm::none_of(tried, [&](const Candidate &other) {
    if (other.bytes > candidate.bytes || other.predicted > candidate.predicted)
      return false;
    bool isEqual = other.bytes == candidate.bytes &&
                   other.predicted == candidate.predicted;
    return !isEqual || isSimpler(other, candidate);
  });
}

void AutoTrials::print(raw_ostream &os) const {
  std::vector<rt::FrontLine> lines;
  for (const Candidate &candidate : tried)
    lines.push_back({candidate.steps, shareOf(candidate), candidate.predicted,
                     candidate.loss, isOnFront(candidate),
                     candidate.steps == chosen});
  os << rt::frontTable(lines);
  os << rt::refusedTable(refused);
}

json::Array AutoTrials::toJSON() const {
  json::Array list;
  for (const Candidate &candidate : tried) {
    json::Object entry{
        {"steps", candidate.steps},      {"bytes", candidate.bytes},
        {"share", shareOf(candidate)},   {"output_error", candidate.predicted},
        {"front", isOnFront(candidate)}, {"chosen", candidate.steps == chosen}};
    if (candidate.loss)
      entry["loss"] = *candidate.loss;
    list.push_back(std::move(entry));
  }
  return list;
}

json::Array AutoTrials::refusedJSON() const {
  json::Array list;
  for (const rt::RefusedLine &recipe : refused)
    list.push_back(json::Object{{"steps", recipe.steps},
                                // It may tell names out of a file.
                                {"why", json::fixUTF8(recipe.why)}});
  return list;
}

#include "tools/moe-bank/Diff.h"

#include "runtime/Core/Tensor.h"
#include "runtime/Core/Text.h"

#include <cfloat>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>

using namespace moe::rt;
using moe::Archive;
using moe::Entry;

static_assert(LDBL_MANT_DIG >= 64, "whole numbers of 64 bits must fit");

/// A number as it is; a double has no room for all whole numbers of 64 bits.
static long double numberAt(const moe_tensor &tensor, int64_t i) {
  if (tensor.dtype != MOE_I64 && tensor.dtype != MOE_U64)
    return elementAsDouble(tensor.data, tensor.dtype, i);
  uint64_t bits; // files need not align them
  std::memcpy(&bits, static_cast<const char *>(tensor.data) + i * sizeof(bits),
              sizeof(bits));
  return tensor.dtype == MOE_U64
             ? static_cast<long double>(bits)
             : static_cast<long double>(static_cast<int64_t>(bits));
}

/// How the numbers of two tensors of one shape differ; empty where they do not.
static std::string numbersDiffer(const moe_tensor &a, const moe_tensor &b) {
  int64_t count = *elementCount(a.shape, a.rank), differing = 0;
  double most = 0;
  for (int64_t i = 0; i < count; ++i) {
    long double x = numberAt(a, i), y = numberAt(b, i);
    if (x == y || (std::isnan(x) && std::isnan(y)))
      continue;
    ++differing;
    // A NaN against a number is as far as it gets.
    double distance = static_cast<double>(std::abs(x - y));
    most = std::isnan(distance) ? INFINITY : std::max(most, distance);
  }
  if (!differing)
    return {};
  return text(differing, " of ", count, " numbers differ, by ", number(most, 3),
              " at most");
}

/// What is different about two entries of one name; empty where nothing is.
static std::string differ(const Entry &a, const Entry &b) {
  if (a.shape != b.shape)
    return text(a.type, " ", a.shape, ", then ", b.type, " ", b.shape);
  bool same = a.data && b.data && a.size == b.size && a.type == b.type &&
              std::memcmp(a.data, b.data, a.size) == 0;
  if (same)
    return {};
  std::string types =
      a.type == b.type ? "" : text(a.type, ", then ", b.type, ": ");
  if (!a.tensor.dtype || !b.tensor.dtype)
    return types + "bytes differ";
  std::string numbers = numbersDiffer(a.tensor, b.tensor);
  if (!numbers.empty())
    return types + numbers;
  // Zeros of either sign, and NaNs, have several spellings.
  return types +
         (types.empty() ? "bytes differ, numbers do not" : "the same numbers");
}

bool moe::printDifferences(const Archive &a, const Archive &b) {
  std::map<std::string, const Entry *> there;
  for (const Entry &entry : b.entries)
    there[entry.name] = &entry;
  size_t equal = 0, changed = 0, gone = 0;
  for (const Entry &entry : a.entries) {
    auto found = there.find(entry.name);
    if (found == there.end()) {
      std::printf("- %s %s %s\n", printable(entry.name).c_str(),
                  printable(entry.type).c_str(),
                  printable(entry.shape).c_str());
      ++gone;
      continue;
    }
    std::string how = differ(entry, *found->second);
    there.erase(found);
    if (how.empty()) {
      ++equal;
      continue;
    }
    ++changed;
    std::printf("! %s %s\n", printable(entry.name).c_str(), how.c_str());
  }
  for (const Entry &entry : b.entries)
    if (there.count(entry.name))
      std::printf("+ %s %s %s\n", printable(entry.name).c_str(),
                  printable(entry.type).c_str(),
                  printable(entry.shape).c_str());
  std::printf("%zu equal, %zu differ, %zu gone, %zu new\n", equal, changed,
              gone, there.size());
  return changed + gone + there.size() == 0;
}

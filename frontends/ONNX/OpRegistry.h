#ifndef MOE_FRONTENDS_ONNX_OPREGISTRY_H
#define MOE_FRONTENDS_ONNX_OPREGISTRY_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace moe::onnx {

/// One operator that the importer accepts, in all versions of its opset range.
struct OpEntry {
  const char *domain;
  const char *name;
  /// Since-versions in rising order, as text: "7 13 14".
  const char *versions;
  int minInputs, maxInputs; // -1: any number
  int minOutputs, maxOutputs;
  /// "name:type" or "name:type@from" or "name:type@from-to", separated by
  /// spaces; types i f s t g for one, I F S for lists; versions inclusive.
  const char *attributes;
};

/// The newest operator-set version of the default domain that we know.
constexpr int64_t kNewestOpset = 27;
constexpr int64_t kOldestOpset = 7;
constexpr int64_t kNewestIrVersion = 13;
constexpr int64_t kOldestIrVersion = 3;

llvm::ArrayRef<OpEntry> opRegistry();

/// The entry of an operator, or null.
const OpEntry *findOp(llvm::StringRef domain, llvm::StringRef name);

/// The since-version that `entry` has in operator set `opset`, or 0 when the
/// operator is younger than that.
int64_t sinceVersion(const OpEntry &entry, int64_t opset);

/// The type letter of attribute `name` in version `version`, or 0 when the
/// operator does not have it.
char attributeType(const OpEntry &entry, llvm::StringRef name, int64_t version);

/// The table behind `moe-opt --list-ops`.
void printOpRegistry(llvm::raw_ostream &os);

} // namespace moe::onnx

#endif // MOE_FRONTENDS_ONNX_OPREGISTRY_H

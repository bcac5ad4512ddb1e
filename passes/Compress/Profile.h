#ifndef MOE_PASSES_COMPRESS_PROFILE_H
#define MOE_PASSES_COMPRESS_PROFILE_H

#include "passes/Analysis/Numbers.h"
#include "passes/Analysis/RouterHash.h"
#include "runtime/Bank/Profile.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <optional>

namespace moe {

/// A profile with the file it came from, as numbers.
class Profile {
public:
  /// Reads the file at `path`; fails where it is no profile.
  static llvm::Expected<std::unique_ptr<Profile>> load(llvm::StringRef path);

  llvm::StringRef getPath() const { return path; }
  const rt::Profile &getStored() const { return stored; }
  bool hasLayer(llvm::StringRef layer) const {
    return stored.find({layer.data(), layer.size()});
  }

  /// A measure of a layer (`counts`, `score_sum`, `sample`...), vectors as
  /// columns; nothing where it was not made.
  std::optional<Numbers> get(llvm::StringRef layer, llvm::StringRef name) const;

  /// Gives its layers the names of those that have the same routers. Fails
  /// where one of these is not in the profile, or where it knows no routers.
  llvm::Error nameByRouters(llvm::ArrayRef<RouterHash> routers);

private:
  std::string path;
  rt::Profile stored;
};

} // namespace moe

#endif // MOE_PASSES_COMPRESS_PROFILE_H

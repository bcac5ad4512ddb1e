// Expert profiles (.moeprof): what runs of a model measured, as sums that add
// up over runs. README.md beside this file describes the format.
#ifndef MOE_RUNTIME_BANK_PROFILE_H
#define MOE_RUNTIME_BANK_PROFILE_H

#include "runtime/Core/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moe::rt {

/// One measure of a layer ("counts"), owned.
struct ProfileTensor {
  std::string name;
  int32_t dtype = 0; // I64, U64, F64, F32 or U8
  std::vector<int64_t> shape;
  std::string bytes;
  uint64_t offset = 0; // of the bytes in the file that it was read from

  template <typename T>
  const T *as() const {
    return reinterpret_cast<const T *>(bytes.data());
  }
  template <typename T>
  int64_t size() const {
    return static_cast<int64_t>(bytes.size() / sizeof(T));
  }
};

struct ProfileLayer {
  std::string name;
  std::vector<ProfileTensor> tensors; // in the order of the format

  /// The measure, or null where it was not made.
  const ProfileTensor *find(std::string_view measure) const;
  /// The hash of the router's weights, 32 bytes, or nothing.
  std::string router() const;
  /// Number of experts, and width of the inputs (0 where not measured).
  int64_t experts() const;
  int64_t width() const;
  /// The numbers of an F64 or I64 measure; empty where it was not made.
  std::vector<double> numbers(std::string_view measure) const;
  /// Half of the tokens have a smaller ratio of second to first weight, to
  /// 1/1024; nothing where none was measured.
  std::optional<double> medianRatio() const;
};

struct Profile {
  std::string model;
  std::string fingerprint; // empty where unknown
  uint64_t seed = 0;       // of the samples
  std::vector<ProfileLayer> layers;

  const ProfileLayer *find(std::string_view layer) const;
};

/// Reads and checks a whole file.
Result<Profile> readProfile(const std::string &path);
Result<Profile> parseProfile(std::string_view bytes, const std::string &what);

/// Checks sizes, types and the order of samples, as reading does, and puts
/// tensors into the order of the format; `what` names the profile in messages.
Status checkProfile(Profile &profile, const std::string &what);

/// Adds what `from`, called `what`, measured. Both must be of one model and
/// seed and have measured the same things; otherwise nothing changes.
Status addProfile(Profile &into, const Profile &from, const std::string &what);

/// Is `profile` one of the model with that fingerprint? Otherwise an error that
/// names the file and both models.
Status checkModel(const Profile &profile, const std::string &what,
                  const std::string &model, const std::string &fingerprint);

/// Writes the file as a whole, or not at all.
Status writeProfile(const Profile &profile, const std::string &path);

} // namespace moe::rt

#endif // MOE_RUNTIME_BANK_PROFILE_H

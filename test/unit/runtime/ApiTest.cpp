// The C interface over libraries, and bundles made of them.
#include "runtime/Bundle/Bundle.h"
#include "runtime/Core/Text.h"
#include "runtime/Runner/Load.h"
#include "runtime/Runner/Random.h"

#include <climits>
#include <cstring>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace moe::rt;

namespace {

/// Libraries lie beside this test.
std::string beside(const std::string &name) {
  char self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof(self));
  std::string path(self, length > 0 ? static_cast<size_t>(length) : 0);
  return path.substr(0, path.rfind('/') + 1) + name;
}

std::string temporary(const std::string &name) {
  return testing::TempDir() + text("moe-api-", getpid(), "-", name);
}

std::string toString(const Result<Buffer> &buffer) {
  return buffer ? std::string(buffer->view()) : std::string();
}

std::string makeBundle(const std::string &weights, const char *code,
                       const char *features = "") {
  std::string path = temporary("bundle.moe");
  auto writer = BundleWriter::create(path, {"weight", "test", features, {}});
  EXPECT_TRUE(writer) << writer.error().message;
  (*writer)->beginSection("code", "cpu:native");
  std::string image = code ? toString(readFile(beside(code))) : "";
  (*writer)->append(std::string_view(image).substr(0, 100));
  (*writer)->append(
      std::string_view(image).substr(std::min<size_t>(image.size(), 100)));
  (*writer)->endSection();
  // Filled back to front, as packed weights are.
  auto at = (*writer)->reserveSection("weights", "", weights.size());
  EXPECT_TRUE(at) << at.error().message;
  for (size_t i = weights.size(); i-- > 0;)
    EXPECT_EQ(pwrite((*writer)->descriptor(), &weights[i], 1,
                     static_cast<off_t>(*at + i)),
              1);
  EXPECT_TRUE((*writer)->finishReserved().ok());
  Status status = (*writer)->commit();
  EXPECT_TRUE(status.ok()) << status.message;
  return path;
}

std::string weights(float first, size_t size = 64) {
  std::string bytes(size, '\0');
  std::memcpy(bytes.data(), &first, sizeof(first));
  return bytes;
}

} // namespace

TEST(Api, RunsALibrary) {
  auto loaded = loadModel(beside("fake-add.so"));
  ASSERT_TRUE(loaded) << loaded.error().message;
  const moe_api *api = *loaded;
  EXPECT_GE(api->size, sizeof(moe_api));
  EXPECT_STREQ(api->name(), "add");
  EXPECT_EQ(api->num_inputs(), 2u);
  EXPECT_STREQ(api->input(1)->name, "y");
  EXPECT_EQ(api->input(2), nullptr);
  EXPECT_EQ(api->weights_size(), 0u);
  moe_session_options options = {};
  options.size = sizeof(options);
  options.threads = 3;
  moe_session *session = nullptr;
  ASSERT_EQ(api->session_create(&options, &session), MOE_OK) << api->error();
  EXPECT_EQ(api->threads(session), 3);
  float data[4] = {1, 2, 3, 4};
  moe_tensor tensor = {data, MOE_F32, 2, {1, 4}};
  EXPECT_EQ(api->run(session), MOE_INVALID_ARGUMENT);
  EXPECT_STREQ(api->error(), "input 'x' is missing: float32 [n, 4]");
  EXPECT_EQ(api->set_input(session, "q", &tensor), MOE_NOT_FOUND);
  ASSERT_EQ(api->set_input(session, "x", &tensor), MOE_OK);
  EXPECT_STREQ(api->error(), "");
  ASSERT_EQ(api->set_input(session, "y", &tensor), MOE_OK);
  ASSERT_EQ(api->run(session), MOE_OK) << api->error();
  moe_tensor sum;
  ASSERT_EQ(api->get_output(session, "sum", &sum), MOE_OK);
  EXPECT_EQ(static_cast<float *>(sum.data)[3], 8);
  int64_t token = -1;
  moe_sampling sampling = {};
  sampling.size = sizeof(sampling);
  ASSERT_EQ(api->sample(session, "sum", &sampling, &token), MOE_OK);
  EXPECT_EQ(token, 3);
  // Of a caller who knows less of it, no more is read.
  sampling.temperature = -1;
  EXPECT_EQ(api->sample(session, "sum", &sampling, &token),
            MOE_INVALID_ARGUMENT);
  sampling.size = offsetof(moe_sampling, temperature);
  EXPECT_EQ(api->sample(session, "sum", &sampling, &token), MOE_OK);
  api->reset(session);
  EXPECT_EQ(api->get_output(session, "sum", &sum), MOE_INVALID_ARGUMENT);
  api->session_destroy(session);
  options.threads = -1;
  EXPECT_EQ(api->session_create(&options, &session), MOE_INVALID_ARGUMENT);
  EXPECT_EQ(session, nullptr);
}

TEST(Api, OtherVersionsAreNotHandedOut) {
  void *library = dlopen(beside("fake-add.so").c_str(), RTLD_NOW);
  ASSERT_NE(library, nullptr);
  auto get = reinterpret_cast<const moe_api *(*)(uint32_t)>(
      dlsym(library, "moe_model_api"));
  ASSERT_NE(get, nullptr);
  EXPECT_NE(get(MOE_API_MAJOR), nullptr);
  EXPECT_EQ(get(MOE_API_MAJOR + 1), nullptr);
  dlclose(library);
}

TEST(Api, WantsItsWeights) {
  // A copy, so that the other tests get a library without weights, too.
  std::string path = temporary("weight.so");
  auto file = OutputFile::create(path);
  ASSERT_TRUE(file);
  (*file)->write(toString(readFile(beside("fake-weight.so"))));
  ASSERT_TRUE((*file)->commit().ok());
  auto loaded = loadModel(path);
  unlink(path.c_str());
  ASSERT_TRUE(loaded) << loaded.error().message;
  const moe_api *api = *loaded;
  moe_session *session;
  EXPECT_EQ(api->session_create(nullptr, &session), MOE_NOT_FOUND);
  EXPECT_STREQ(api->error(), "the model's 64 bytes of weights are not in this "
                             "file; call set_weights first");
  alignas(64) static float data[32] = {2};
  EXPECT_EQ(api->set_weights(data, 60), MOE_INVALID_FILE);
  EXPECT_STREQ(api->error(),
               "the model needs 64 bytes of weights, but there are 60");
  EXPECT_EQ(api->set_weights(data + 1, 64), MOE_INVALID_ARGUMENT);
  EXPECT_EQ(api->set_weights(data, 64), MOE_OK);
  EXPECT_EQ(api->set_weights(data, 64), MOE_OK);
  EXPECT_EQ(api->set_weights(data + 16, 64), MOE_INVALID_ARGUMENT);
  ASSERT_EQ(api->session_create(nullptr, &session), MOE_OK) << api->error();
  api->session_destroy(session);
}

TEST(Bundle, CarriesCodeAndWeights) {
  std::string path = makeBundle(weights(2.5f), "fake-weight.so");
  auto loaded = loadModel(path);
  unlink(path.c_str());
  ASSERT_TRUE(loaded) << loaded.error().message;
  const moe_api *api = *loaded;
  moe_session *session;
  ASSERT_EQ(api->session_create(nullptr, &session), MOE_OK) << api->error();
  float x[] = {2, 4};
  moe_tensor tensor = {x, MOE_F32, 1, {2}};
  ASSERT_EQ(api->set_input(session, "x", &tensor), MOE_OK);
  ASSERT_EQ(api->run(session), MOE_OK) << api->error();
  moe_tensor y;
  ASSERT_EQ(api->get_output(session, "y", &y), MOE_OK);
  EXPECT_EQ(static_cast<float *>(y.data)[1], 10);
  api->session_destroy(session);
}

TEST(Bundle, OpensThroughTheCInterface) {
  std::string path = makeBundle(weights(1), "fake-weight.so");
  char message[200] = "untouched";
  const moe_api *api = moe_load(path.c_str(), message, sizeof(message));
  unlink(path.c_str());
  ASSERT_NE(api, nullptr) << message;
  EXPECT_STREQ(api->name(), "weight");
  EXPECT_EQ(moe_load("/nonexistent/m.moe", message, 12), nullptr);
  EXPECT_STREQ(message, "cannot read");
  EXPECT_EQ(moe_load("/nonexistent/m.moe", nullptr, 0), nullptr);
}

TEST(Bundle, SaysWhatIsWrong) {
  auto error = [](const std::string &path) {
    auto loaded = loadModel(path);
    unlink(path.c_str());
    EXPECT_FALSE(loaded);
    std::string message = loaded.error().message;
    size_t at = message.find("' ");
    return at == message.npos ? message : message.substr(at + 2);
  };
  EXPECT_EQ(error(makeBundle(weights(1), "fake-weight.so", "warp-drive")),
            "was compiled for a processor with warp-drive, which this one "
            "lacks");
  std::string path = makeBundle(weights(1), "fake-weight.so");
  std::string good = toString(readFile(path));
  auto with = [&](std::string bytes) {
    auto file = OutputFile::create(path);
    EXPECT_TRUE(file);
    (*file)->write(bytes);
    EXPECT_TRUE((*file)->commit().ok());
    return path;
  };
  std::string changed = good;
  changed[8] = 2;
  EXPECT_EQ(error(with(changed)), "is a bundle of version 2.0, known is 1.0");
  changed = good;
  std::swap(changed[12], changed[15]);
  EXPECT_EQ(error(with(changed)), "was made for the other byte order");
  changed = good;
  changed[5000] ^= 1;
  EXPECT_EQ(error(with(changed)),
            "is a damaged bundle: section 'code' has another hash");
  changed = good;
  changed[good.size() - 100] ^= 1;
  EXPECT_EQ(error(with(changed)),
            "is a damaged bundle: its manifest has another hash");
  EXPECT_EQ(error(with(good.substr(0, good.size() - 1))),
            "is a truncated bundle");
  EXPECT_EQ(error(with(good.substr(0, 20))), "is a truncated bundle");
  EXPECT_EQ(error(with("hello")).substr(0, 24), "is not a model library: ");
}

// Whatever the manifest holds, parsing answers. The hash is made to fit, so
// that the FlatBuffer itself is what mutates.
TEST(Bundle, SurvivesMutations) {
  std::string path = makeBundle(weights(1), nullptr);
  std::string good = toString(readFile(path));
  unlink(path.c_str());
  uint64_t offset, size;
  std::memcpy(&offset, good.data() + good.size() - 64, 8);
  std::memcpy(&size, good.data() + good.size() - 56, 8);
  Random random(3);
  int refused = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = good;
    for (uint64_t edits = 1 + random.below(3); edits; --edits)
      bytes[offset + random.below(size)] = static_cast<char>(random.next());
    auto hash = Sha256::of(std::string_view(bytes).substr(offset, size));
    std::memcpy(bytes.data() + bytes.size() - 48, hash.data(), 32);
    refused += !parseBundle(bytes, "f");
    bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    bytes.resize(random.below(bytes.size()));
    EXPECT_FALSE(parseBundle(bytes, "f"));
  }
  EXPECT_GT(refused, 500);
}

// FIPS 180-4's examples, and every length around a block's end in portions.
TEST(Sha256, MatchesTheStandard) {
  auto hex = [](const Sha256::Digest &digest) {
    std::string out;
    for (uint8_t byte : digest) {
      out += "0123456789abcdef"[byte >> 4];
      out += "0123456789abcdef"[byte & 15];
    }
    return out;
  };
  EXPECT_EQ(hex(Sha256::of("")),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b93"
            "4ca495991b7852b855");
  EXPECT_EQ(hex(Sha256::of("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a3961"
            "77a9cb410ff61f20015ad");
  EXPECT_EQ(hex(Sha256::of(
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  for (size_t length = 0; length < 200; ++length) {
    std::string data(length, 'x');
    Sha256 hash(/*useInstructions=*/length % 2 == 0);
    for (size_t at = 0; at < length; at += 7)
      hash.update(std::string_view(data).substr(at, 7));
    EXPECT_EQ(hash.finish(), Sha256::of(data)) << length;
  }
}

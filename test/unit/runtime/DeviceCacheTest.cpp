// What is kept of assembled code, and that nothing depends on it.
#include "runtime/Device/CubinCache.h"
#include "test/unit/runtime/DeviceFixture.h"

#include <fstream>
#include <unistd.h>

using namespace moe::rt;
using namespace moe::test;
namespace fs = std::filesystem;

namespace {

/// The files of the cache.
std::vector<fs::path> cubinsIn(const std::string &folder) {
  std::vector<fs::path> found;
  for (const auto &entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      found.push_back(entry.path());
  return found;
}

TEST_F(DeviceFixture, KeepsCubins) {
  auto device = open();
  auto isCached = [&](const std::string &ptx) {
    auto module = Module::load(*device, "m", ptx);
    EXPECT_TRUE(module) << module.error().message;
    EXPECT_TRUE(module->kernel("scale", 64, 0));
    return module->cached();
  };
  std::string ptx = ptxOf("scale");
  EXPECT_FALSE(isCached(ptx));
  EXPECT_TRUE(isCached(ptx));
  EXPECT_EQ(fake.numAssembled, 1);
  std::vector<fs::path> files = cubinsIn(folder);
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].parent_path(), folder + "/moe-opt");
  EXPECT_EQ(files[0].extension(), ".cubin");
  EXPECT_EQ(files[0].stem().string().size(), 64u);

  // Whatever it depends on makes another.
  EXPECT_FALSE(isCached(ptx + "\n"));
  table.version = 13010;
  EXPECT_FALSE(isCached(ptx));
  EXPECT_EQ(cubinsIn(folder).size(), 3u);
  fake.devices.push_back({"Fake A100", 8, 0});
  std::string plain = ptxOf("scale", "sm_80");
  EXPECT_FALSE(isCached(plain));
  device = open(1);
  EXPECT_FALSE(isCached(plain));
  EXPECT_TRUE(isCached(plain));
  EXPECT_EQ(cubinsIn(folder).size(), 5u);

  setenv("MOE_CACHE", "0", 1);
  EXPECT_FALSE(isCached(plain));
  EXPECT_FALSE(isCached(ptxOf("scale", "sm_75")));
  EXPECT_EQ(cubinsIn(folder).size(), 5u);
}

TEST_F(DeviceFixture, MakesDamagedCubinsAnew) {
  auto device = open();
  std::string ptx = ptxOf("scale");
  auto isCached = [&] {
    auto module = Module::load(*device, "m", ptx);
    EXPECT_TRUE(module) << module.error().message;
    return module->cached();
  };
  EXPECT_FALSE(isCached());
  fs::path file = cubinsIn(folder).at(0);
  auto size = fs::file_size(file);
  for (auto damage : {0, 1, 2, 3, 4}) {
    SCOPED_TRACE(damage);
    if (damage == 0)
      fs::resize_file(file, size - 1);
    else if (damage == 1)
      fs::resize_file(file, 0);
    else if (damage == 2)
      fs::resize_file(file, 20);
    else if (damage == 3) {
      std::fstream stream(file, std::ios::in | std::ios::out);
      stream.seekp(30);
      stream.put('\x01');
    } else
      // Sound, but nothing the driver likes.
      storeCubin(file, "\x7f"
                       "ELF of something else");
    EXPECT_FALSE(isCached());
    EXPECT_TRUE(isCached());
    EXPECT_EQ(fs::file_size(file), size);
  }
  // Something else in its place is left there.
  fs::remove(file);
  fs::create_directory(file);
  EXPECT_FALSE(isCached());
  EXPECT_FALSE(isCached());
  EXPECT_EQ(cubinsIn(folder).size(), 0u);
}

TEST_F(DeviceFixture, WorksWithoutACache) {
  auto device = open();
  auto loads = [&] {
    auto module = Module::load(*device, "m", ptxOf("scale"));
    return bool(module) && !module->cached();
  };
  setenv("XDG_CACHE_HOME", "/dev/null/cache", 1);
  EXPECT_TRUE(loads() && loads());
  setenv("XDG_CACHE_HOME", "/proc", 1); // where nobody may write
  EXPECT_TRUE(loads() && loads());
  std::string home = std::getenv("HOME") ? std::getenv("HOME") : "";
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  EXPECT_EQ(cubinCacheFolder(), "");
  EXPECT_TRUE(loads() && loads());
  setenv("XDG_CACHE_HOME", "relative", 1);
  setenv("HOME", (folder + "/deep/home").c_str(), 1);
  EXPECT_EQ(cubinCacheFolder(), folder + "/deep/home/.cache/moe-opt");
  EXPECT_TRUE(loads());
  EXPECT_FALSE(loads());
  if (!home.empty())
    setenv("HOME", home.c_str(), 1);
}

/// One that can be read and not written: what is there is used, no more.
TEST_F(DeviceFixture, WorksWithACacheThatCannotBeWritten) {
  auto device = open();
  auto isCached = [&](const std::string &ptx) {
    auto module = Module::load(*device, "m", ptx);
    EXPECT_TRUE(module) << module.error().message;
    return module->cached();
  };
  EXPECT_FALSE(isCached(ptxOf("scale")));
  constexpr auto readable = fs::perms(0555);
  fs::permissions(folder, readable);
  fs::permissions(folder + "/moe-opt", readable);
  // Root may write everywhere.
  bool root = geteuid() == 0;
  if (root) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  EXPECT_TRUE(isCached(ptxOf("scale")));
  EXPECT_FALSE(isCached(ptxOf("scale") + "\n"));
  EXPECT_FALSE(isCached(ptxOf("scale") + "\n"));
  if (root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  fs::permissions(folder + "/moe-opt", fs::perms::owner_all);
}

} // namespace

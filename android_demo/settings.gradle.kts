pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "mnet-android-demo"

// hosttest/ builds and tests the same sources on a desktop without an Android SDK: see its kotlin.py.
include(":core", ":engine", ":litert", ":coroutines", ":work", ":app")

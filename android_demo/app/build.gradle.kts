plugins {
    alias(libs.plugins.android.application)
}

// AGP 9 compiles Kotlin by itself and refuses the plugin.
if (libs.versions.agp.get().substringBefore('.').toInt() < 9) {
    apply(plugin = libs.plugins.kotlin.android.get().pluginId)
}

android {
    namespace = "mnet.app"
    compileSdk = libs.versions.compileSdk.get().toInt()
    defaultConfig {
        applicationId = "mnet.app"
        minSdk = libs.versions.minSdk.get().toInt()
        targetSdk = libs.versions.targetSdk.get().toInt()
        versionCode = 1
        versionName = "0.1"
        ndk {
            abiFilters += listOf("arm64-v8a", "x86_64")
        }
    }
    buildTypes {
        release {
            isMinifyEnabled = true
            isShrinkResources = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"))
        }
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
}

dependencies {
    implementation(project(":engine"))
}
